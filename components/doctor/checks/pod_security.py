"""Pod Security Standards, computed for a pod: what the levels baseline and restricted refuse."""

from collections.abc import Iterator

from components.doctor.cluster import Document

_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC")
_CAPABILITIES = frozenset(
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID "  # noqa: SIM905
    "SYS_CHROOT".split()
)
_SECCOMP = ("RuntimeDefault", "Localhost")
_VOLUMES = frozenset(
    "configMap csi downwardAPI emptyDir ephemeral persistentVolumeClaim projected secret".split()  # noqa: SIM905
)


def violations(pod: Document, level: str) -> list[str]:
    """Return what a level of Pod Security refuses in a pod; empty if it admits the pod.

    Args:
        pod: Specification of the pod.
        level: One of privileged, baseline, restricted.
    """
    if level not in ("baseline", "restricted"):
        return []
    refusals = list(_baseline(pod))
    return refusals if level == "baseline" else [*refusals, *_restricted(pod)]


def _containers(pod: Document) -> list[Document]:
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]


def _baseline(pod: Document) -> Iterator[str]:
    yield from (f"{field} is set" for field in _HOST_FIELDS if pod.get(field))
    yield from (f"volume {item.get('name')} is a host path" for item in pod.get("volumes") or [] if "hostPath" in item)
    if _seccomp(pod) == "Unconfined":
        yield "the seccomp profile of the pod is Unconfined"
    for container in _containers(pod):
        security = container.get("securityContext") or {}
        name = container.get("name")
        if security.get("privileged"):
            yield f"container {name} is privileged"
        if set((security.get("capabilities") or {}).get("add") or []) - _CAPABILITIES:
            yield f"container {name} adds capabilities"
        if any(port.get("hostPort") for port in container.get("ports") or []):
            yield f"container {name} has a host port"
        if _seccomp(container) == "Unconfined":
            yield f"the seccomp profile of container {name} is Unconfined"


def _restricted(pod: Document) -> Iterator[str]:
    pod_security = pod.get("securityContext") or {}
    for volume in pod.get("volumes") or []:
        if not _VOLUMES & volume.keys() and volume.keys() - {"name", "hostPath"}:
            yield f"volume {volume.get('name')} is of a kind that is not allowed"
    if pod_security.get("runAsUser") == 0:
        yield "runAsUser of the pod is 0"
    for container in _containers(pod):
        security = container.get("securityContext") or {}
        capabilities = security.get("capabilities") or {}
        faults = {
            "allowPrivilegeEscalation != false": security.get("allowPrivilegeEscalation") is not False,
            "capabilities.drop lacks ALL": "ALL" not in (capabilities.get("drop") or []),
            "capabilities.add has more than NET_BIND_SERVICE": bool(
                set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}
            ),
            "runAsNonRoot != true": security.get("runAsNonRoot", pod_security.get("runAsNonRoot")) is not True,
            "runAsUser is 0": security.get("runAsUser") == 0,
            "seccompProfile is not RuntimeDefault": (_seccomp(container) or _seccomp(pod)) not in _SECCOMP,
        }
        yield from (f"container {container.get('name')}: {fault}" for fault, is_present in faults.items() if is_present)


def _seccomp(item: Document) -> str:
    return str(((item.get("securityContext") or {}).get("seccompProfile") or {}).get("type", ""))
