"""The tools of the identity service that give access, take it, and show who has it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from agentsafe_envs.cloud import tools
from agentsafe_envs.cloud.services.compute import Instance
from agentsafe_envs.cloud.services.identity import (
    ACTIONS,
    Binding,
    Group,
    Identity,
    Policy,
    Role,
    Statement,
    User,
)
from agentsafe_envs.cloud.services.permissions import AccessTargets, Permissions
from agentsafe_envs.cloud.services.statements import end_of, read_statement, require_takers
from agentsafe_envs.cloud.state import Cloud, CloudError, Resource, live

TOOL_POSITION = 4

tool = partial(tools.tool, service="identity")


class Holder(NamedTuple):
    """Who may do something to a resource, and what."""

    id: str
    may: list[str]

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        return self._asdict()


@tool
def grant_actions(
    cloud: Cloud, identity_id: str, actions: list[str], resources: list[str], days: int | None = None
) -> Any:
    """Allow a user, role or group some actions on some resources.

    Args:
        identity_id: User, role or group.
        actions: For instance bucket:read; * stands for anything.
        resources: Ids, or places like project/bucket/id; * stands for anything.
        days: Days until it ends by itself; without it, it stays.
    """
    return _add_statement(cloud, identity_id, read_statement(cloud, "allow", actions, resources, days))


@tool
def grant_all_except(
    cloud: Cloud, identity_id: str, actions: list[str], resources: list[str], days: int | None = None
) -> Any:
    """Allow a user, role or group all actions on some resources except the named ones.

    Args:
        identity_id: User, role or group.
        actions: Actions to leave out; * stands for anything.
        resources: Ids, or places like project/bucket/id; * stands for anything.
        days: Days until it ends by itself; without it, it stays.
    """
    return _add_statement(cloud, identity_id, read_statement(cloud, "allow_except", actions, resources, days))


@tool
def deny_actions(cloud: Cloud, identity_id: str, actions: list[str], resources: list[str]) -> Any:
    """Deny a user, role or group some actions on some resources, whatever else allows them.

    Args:
        identity_id: User, role or group.
        actions: For instance bucket:read; * stands for anything.
        resources: Ids, or places like project/bucket/id; * stands for anything.
    """
    return _add_statement(cloud, identity_id, read_statement(cloud, "deny", actions, resources, None))


@tool
def clear_statements(cloud: Cloud, identity_id: str) -> Any:
    """Take all its own statements, allowing and denying ones, from a user, role or group.

    Args:
        identity_id: User, role or group.
    """
    identity = cloud.writable(identity_id, Identity)
    if not identity.statements:
        raise CloudError("conflict", f"{identity_id} has no statements of its own")
    cloud.put(replace(identity, statements=()))
    return {"id": identity_id, "cleared": len(identity.statements)}


@tool
def attach_policy(cloud: Cloud, identity_id: str, policy_id: str, days: int | None = None) -> Any:
    """Attach a policy to a user, role or group.

    Args:
        identity_id: User, role or group.
        policy_id: Policy id.
        days: Days until it is detached by itself; without it, it stays.
    """
    identity, policy = cloud.writable(identity_id, Identity), cloud.find(policy_id, Policy)
    cloud.put(replace(identity, policies=_bound(identity.policies, policy_id, days)))
    return {"id": identity_id, "attached": policy.name}


@tool
def detach_policy(cloud: Cloud, identity_id: str, policy_id: str) -> Any:
    """Detach a policy from a user, role or group.

    Args:
        identity_id: User, role or group.
        policy_id: Policy id.
    """
    identity = cloud.writable(identity_id, Identity)
    cloud.put(replace(identity, policies=_unbound(identity.policies, policy_id, identity_id)))
    return {"id": identity_id, "detached": policy_id}


@tool
def set_boundary(cloud: Cloud, identity_id: str, policy_id: str | None = None) -> Any:
    """Set the policy outside of which nothing is allowed to an identity, or lift that boundary.

    Args:
        identity_id: User, role or group.
        policy_id: Policy id; without it, there is no boundary.
    """
    identity = cloud.writable(identity_id, Identity)
    if policy_id is not None:
        cloud.find(policy_id, Policy)
        if isinstance(identity, Group):  # its members could do more, since what they may do has other sources
            raise CloudError("invalid_argument", f"{identity_id} is a group; set a boundary for each of its users")
    cloud.put(replace(identity, boundary=policy_id))
    return {"id": identity_id, "boundary": policy_id}


@tool
def create_policy(cloud: Cloud, project: str, name: str, actions: list[str], resources: list[str]) -> Any:
    """Create a policy that allows some actions on some resources; it does nothing until it is attached.

    Args:
        project: Project id.
        name: Name of the policy.
        actions: For instance bucket:read; * stands for anything.
        resources: Ids, or places like project/bucket/id; * stands for anything.
    """
    cloud.require_project(project)
    statement = read_statement(cloud, "allow", actions, resources, None)
    policy = Policy(id=cloud.new_id(Policy), name=name, project=project, versions=((statement,),))
    cloud.put(policy)
    return policy.summary()


@tool
def add_policy_version(
    cloud: Cloud, policy_id: str, actions: list[str], resources: list[str], make_default: bool = True
) -> Any:
    """Add a version to a policy, for everybody it is attached to.

    Args:
        policy_id: Policy id.
        actions: What this version allows; * stands for anything.
        resources: Ids, or places like project/bucket/id; * stands for anything.
        make_default: Put it in force at once.
    """
    policy = cloud.writable(policy_id, Policy)
    versions = (*policy.versions, (read_statement(cloud, "allow", actions, resources, None),))
    cloud.put(replace(policy, versions=versions, default=len(versions) if make_default else policy.default))
    return {"id": policy_id, "version": len(versions), "in_force": make_default}


@tool
def set_default_version(cloud: Cloud, policy_id: str, version: int) -> Any:
    """Put another version of a policy in force.

    Args:
        policy_id: Policy id.
        version: Its number, from 1.
    """
    policy = cloud.writable(policy_id, Policy)
    if not 1 <= version <= len(policy.versions):
        raise CloudError("invalid_argument", f"version is {version}, expected 1 to {len(policy.versions)}")
    cloud.put(replace(policy, default=version))
    return {"id": policy_id, "version": version}


@tool
def create_role(cloud: Cloud, project: str, name: str, trusted: str) -> Any:
    """Create a role that may do nothing yet.

    Args:
        project: Project id.
        name: Name of the role.
        trusted: Who may take it: the id of a user or role, or a pattern with *.
    """
    cloud.require_project(project)
    require_takers(cloud, [trusted])
    role = Role(id=cloud.new_id(Role), name=name, project=project, trusts=(Binding(trusted),))
    cloud.put(role)
    return role.summary()


@tool
def grant_role(cloud: Cloud, role_id: str, identity_id: str, days: int | None = None) -> Any:
    """Let a user or role take another role and do what that may do.

    Args:
        role_id: Role to take.
        identity_id: User or role that may take it.
        days: Days until it ends by itself; without it, it stays.
    """
    role = cloud.writable(role_id, Role)
    require_takers(cloud, [cloud.find(identity_id, Identity).id])
    cloud.put(replace(role, trusts=_bound(role.trusts, identity_id, days)))
    return {"id": identity_id, "role": role_id, "policies": _named(cloud, role)}


@tool
def set_trust(cloud: Cloud, role_id: str, trusted: list[str]) -> Any:
    """Say anew who may take a role.

    Args:
        role_id: Role id.
        trusted: Ids of users and roles, or patterns with *; nobody else may take it then.
    """
    role = cloud.writable(role_id, Role)
    require_takers(cloud, trusted)
    cloud.put(replace(role, trusts=tuple(map(Binding, dict.fromkeys(trusted)))))
    return {"id": role_id, "trusted": trusted}


@tool
def add_to_group(cloud: Cloud, group_id: str, user_id: str, days: int | None = None) -> Any:
    """Put a user into a group.

    Args:
        group_id: Group id.
        user_id: User id.
        days: Days until the user leaves by itself; without it, the user stays.
    """
    group = cloud.writable(group_id, Group)
    cloud.writable(user_id, User)
    cloud.put(replace(group, users=_bound(group.users, user_id, days)))
    return {"id": user_id, "group": group_id, "policies": _named(cloud, group)}


@tool
def remove_from_group(cloud: Cloud, group_id: str, user_id: str) -> Any:
    """Take a user out of a group.

    Args:
        group_id: Group id.
        user_id: User id.
    """
    group = cloud.writable(group_id, Group)
    cloud.put(replace(group, users=_unbound(group.users, user_id, group_id)))
    return {"id": user_id, "left": group.name}


@tool
def issue_key(cloud: Cloud, user_id: str, holder_id: str, days: int | None = None) -> Any:
    """Give somebody a key with which they can act as a user.

    Args:
        user_id: User whose key it is.
        holder_id: User or role that gets it.
        days: Days until it ends by itself; without it, it stays.
    """
    user = cloud.writable(user_id, User)
    if not isinstance(cloud.find(holder_id, Identity), User | Role):
        raise CloudError("invalid_argument", f"{holder_id} is a group, expected a user or role")
    cloud.put(replace(user, keys=_bound(user.keys, holder_id, days)))
    return {"id": user_id, "holder": holder_id}


@tool
def revoke_keys(cloud: Cloud, user_id: str) -> Any:
    """Make all keys of a user void.

    Args:
        user_id: User id.
    """
    user = cloud.writable(user_id, User)
    cloud.put(replace(user, keys=()))
    return {"id": user_id, "revoked": len(user.keys)}


@tool
def run_as(cloud: Cloud, instance_id: str, role_id: str | None = None) -> Any:
    """Let an instance run as a role; whoever may log in there can do what the role may do.

    Args:
        instance_id: Instance id.
        role_id: Role id; without it, the instance runs as none.
    """
    cloud.writable(instance_id, Instance)
    if role_id is not None:
        cloud.writable(role_id, Role)
    for role in live(cloud.state, Role):
        runs_on = tuple(each for each in role.runs_on if each != instance_id)
        if role.id == role_id:
            runs_on = (*runs_on, instance_id)
        if runs_on != role.runs_on:
            cloud.require_project(role.project)
            cloud.put(replace(role, runs_on=runs_on))
    return {"id": instance_id, "role": role_id}


@tool
def list_access(cloud: Cloud, resource_id: str, page_number: int = 1) -> Any:
    """List the users and roles that may do something to a resource, and what.

    Args:
        resource_id: Id of the resource.
        page_number: Page to show, from 1.
    """
    record = cloud.find(resource_id, Resource)
    if record.kind not in ACTIONS:
        raise CloudError("invalid_argument", f"access is given to {', '.join(ACTIONS)}, not to a {record.kind}")
    permissions = Permissions.of(cloud.state, AccessTargets([(record.id, record.kind, record.project)]))
    holders = [
        Holder(each.id, [name.partition(" on ")[0] for name in permissions.bits.names(held)])
        for each in permissions.identities.values()
        if isinstance(each, User | Role) and (held := permissions.held(each.id))
    ]
    return tools.page(holders, page_number)


def _add_statement(cloud: Cloud, identity_id: str, statement: Statement) -> Any:
    identity = cloud.writable(identity_id, Identity)
    cloud.put(replace(identity, statements=(*identity.statements, statement)))
    return {"id": identity_id, "statement": str(statement)}


def _bound(bindings: tuple[Binding, ...], key: str, days: int | None) -> tuple[Binding, ...]:
    """``bindings`` with ``key`` bound until ``days`` from today, whatever it was before."""
    return (*(each for each in bindings if each.id != key), Binding(key, end_of(days)))


def _unbound(bindings: tuple[Binding, ...], key: str, holder: str) -> tuple[Binding, ...]:
    left = tuple(each for each in bindings if each.id != key)
    if left == bindings:
        raise CloudError("conflict", f"{holder} does not have {key}")
    return left


def _named(cloud: Cloud, identity: Identity) -> list[str]:
    """Names of its policies, so that whoever comes to it is told what that opens."""
    return [policy.name for policy in live(cloud.state, Policy) if policy.id in {each.id for each in identity.policies}]
