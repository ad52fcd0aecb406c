"""Is submission.json strict JSON with the fields of the schema and no other?"""

from pydantic import ValidationError

from agentsafe_envs.submissions.checking import Case, Check, Outcome
from agentsafe_envs.submissions.hostile import RefusedError, read_json
from agentsafe_envs.submissions.schema import SUBMISSION_FILE, Submission


def _check(case: Case) -> Outcome:
    """Read submission.json."""
    try:
        case.submission = Submission.model_validate(read_json(case.members[SUBMISSION_FILE], SUBMISSION_FILE))
    except RefusedError as error:
        return Outcome("refused", str(error))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)
        shown = "; ".join(f"{'.'.join(map(str, each['loc']))!a}: {each['msg']}" for each in wrong[:5])
        return Outcome("refused", f"{len(wrong)} fields are not as the schema has them: {shown}")
    return Outcome("passed", f"submission {case.submission.digest()}")


CHECK = Check(20, "schema", "submission.json has the schema's fields and no other: no score, rate or level.", _check)
