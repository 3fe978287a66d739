"""The account of the run's pods, and its rights in the endpoint's namespace."""

from components.doctor.cluster import NotAllowedError
from components.doctor.examination import Examination, account_user, apply_overlay
from components.doctor.findings import Answer, met, not_allowed, not_met

ROLE = "taxonflow-deployer"
RIGHTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("serving.kserve.io", "inferenceservices"): ("get", "create", "patch"),
    ("", "configmaps"): ("get", "list", "create", "patch"),
    ("apps", "deployments"): ("get",),
    ("apps", "replicasets"): ("list",),
    ("", "pods"): ("list",),
    ("", "events"): ("list",),
}
"""Verbs of the deploy step by API group and resource, as in manifests/base/deployer-role.yaml."""


def account(examination: Examination) -> Answer:
    """Check that the account of the run's pods exists."""
    namespace, name = examination.namespace, examination.account
    try:
        document = examination.cluster.read(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}")
    except NotAllowedError as error:
        return not_allowed(
            f"{namespace}/{name} cannot be read: {error}", f"kubectl get serviceaccount {name} -n {namespace}"
        )
    if document is not None:
        return met(f"{namespace}/{name}")
    return not_met(
        f"there is no service account {name} in {namespace}",
        f"kubectl get serviceaccounts -n {namespace}   # then set ACCOUNT=<one of them>",
    )


def rights(examination: Examination) -> Answer:
    """Check that the account may do what the deploy step does."""
    namespace, run = examination.endpoint_namespace, f"{examination.namespace}:{examination.account}"
    user = account_user(examination.namespace, examination.account)
    try:
        absent_rights = [
            f"{', '.join(verbs)} {resource}"
            for (group, resource) in RIGHTS
            if (verbs := _refused_verbs(examination, group, resource))
        ]
    except NotAllowedError as error:
        command = f"kubectl auth can-i --list --as={user} -n {namespace}"
        return not_allowed(f"the rights of {examination.account} cannot be asked for: {error}", command)
    if not absent_rights:
        return met(f"{examination.account} may deploy in {namespace}")
    command = f"kubectl create rolebinding {ROLE}-{examination.account} --role={ROLE} --serviceaccount={run}"
    return not_met(
        f"{examination.account} of {examination.namespace} may not {'; '.join(absent_rights)} in {namespace}",
        f"{command} -n {namespace}" if _has_role(examination) else apply_overlay(namespace),
    )


def _has_role(examination: Examination) -> bool:
    """Return whether the overlay's role exists; True if it cannot be read."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{examination.endpoint_namespace}/roles/{ROLE}"
    try:
        return examination.cluster.read(path) is not None
    except NotAllowedError:
        return True


def _refused_verbs(examination: Examination, group: str, resource: str) -> list[str]:
    verbs = RIGHTS[group, resource]
    return [v for v in verbs if not _is_allowed(examination, {"verb": v, "group": group, "resource": resource})]


def _is_allowed(examination: Examination, attributes: dict[str, str]) -> bool:
    """Return whether the account of the run may do something; that account itself asks without a name."""
    request = {"resourceAttributes": {**attributes, "namespace": examination.endpoint_namespace}}
    if examination.in_pod:
        return examination.cluster.review("SelfSubjectAccessReview", request)
    namespace = examination.namespace
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    user = account_user(namespace, examination.account)
    return examination.cluster.review("SubjectAccessReview", {**request, "user": user, "groups": groups})
