"""Does a signature, where there is one, belong to what was sent?"""

from agentsafe_envs.core.extras import install_hint
from agentsafe_envs.submissions.checking import Case, Check, Outcome


def _check(case: Case) -> Outcome:
    """Verify ed25519 over the canonical JSON."""
    signature = case.submission.signature
    if signature is None:
        return Outcome("passed", "not signed")
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return Outcome("unchecked", f"a signature needs cryptography; install it: {install_hint('submit')}")
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.key))
        key.verify(bytes.fromhex(signature.signature), case.submission.signed_bytes())
    except (InvalidSignature, ValueError):
        return Outcome("refused", "the signature does not belong to this submission.json; sign it again")
    holder = case.surroundings.keys.get(signature.key)
    return Outcome(
        "passed", f"signed by {holder}" if holder else f"signed by a key that is not listed, {signature.key}"
    )


CHECK = Check(40, "signature", "A signature, where there is one, was made over this submission.json.", _check)
