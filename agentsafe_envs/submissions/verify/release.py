"""Are the tasks of the suite those of this release?"""

import agentsafe_envs
from agentsafe_envs.submissions.checking import Case, Check, Outcome


def _check(case: Case) -> Outcome:
    """Compare the digest of each environment; environments that came later may be lacking as a whole."""
    said = case.submission.suite
    known = case.surroundings.suites.get(said.name)
    if known is None:
        return Outcome("refused", f"no suite {said.name!r}, expected one of {', '.join(case.surroundings.suites)}")
    unknown = sorted(said.environments.keys() - set(known.environments))
    here = f"release {agentsafe_envs.__version__}, submitted with {said.release}"
    if unknown:
        return Outcome("refused", f"suite {said.name} has no {', '.join(unknown)} in this {here}")
    suite = known._replace(environments=tuple(each for each in known.environments if each in said.environments))
    digests = suite.record().environments
    if other := sorted(each for each, digest in digests.items() if said.environments[each] != digest):
        return Outcome("refused", f"tasks of {', '.join(other)} are others in this {here}; play them with this release")
    case.suite = suite
    if missing := sorted(set(known.environments) - set(suite.environments)):
        if case.surroundings.new:
            return Outcome("refused", f"{', '.join(missing)} are missing; a new submission plays the whole suite")
        return Outcome("flagged", f"the suite has got {', '.join(missing)} since; the numbers are without")
    return Outcome("passed", f"{len(digests)} environments as in this {here}")


CHECK = Check(80, "release", "Suite and tasks are those of this release, by the digest of each environment.", _check)
