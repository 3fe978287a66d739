"""The Pod Security Standards of Kubernetes 1.34 for Linux pods, as the API server's admission plugin applies them."""

from collections.abc import Iterator
from typing import Any

Spec = dict[str, Any]
BASELINE_CAPABILITIES = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}  # fmt: skip
SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem",
}  # fmt: skip
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
CONFINED = {"RuntimeDefault", "Localhost"}
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HOOKS = ("postStart", "preStop")


def baseline_violations(pod: Spec, annotations: dict[str, str] | None = None) -> list[str]:
    """Return the violations of the standard `baseline` by a pod's spec and annotations."""
    violations = [f"{key} is true" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    violations += [f"volume {each['name']} is a hostPath" for each in pod.get("volumes", []) if "hostPath" in each]
    violations += [
        f"sysctl {each['name']}" for each in security_of(pod).get("sysctls", []) if each["name"] not in SAFE_SYSCTLS
    ]
    violations += [
        f"AppArmor annotation {name}: {value}"
        for name, value in (annotations or {}).items()
        if name.startswith("container.apparmor.security.beta.kubernetes.io/")
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    ]
    for owner, security in securities(pod):
        violations += [f"{owner}: {violation}" for violation in _unconfined(security)]
    for container in containers_of(pod):
        violations += [f"{container['name']}: {violation}" for violation in _host_access(container)]
    return violations


def restricted_violations(pod: Spec, annotations: dict[str, str] | None = None) -> list[str]:
    """Return the violations of the standard `restricted`, which includes `baseline`."""
    violations = baseline_violations(pod, annotations)
    for volume in pod.get("volumes", []):
        kinds = volume.keys() - {"name"} or {"emptyDir"}
        violations += [f"volume {volume['name']} is a {kind}" for kind in kinds - RESTRICTED_VOLUMES]
    violations += [f"{owner}: runAsUser = 0" for owner, each in securities(pod) if each.get("runAsUser") == 0]
    for container in containers_of(pod):
        violations += [f"{container['name']}: {violation}" for violation in _privileges(container, security_of(pod))]
    return violations


def containers_of(pod: Spec) -> Iterator[Spec]:
    """Yield the containers of every kind."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod.get(kind, [])


def security_of(part: Spec) -> Spec:
    """Return the security context of a pod or a container."""
    return part.get("securityContext") or {}


def securities(pod: Spec) -> Iterator[tuple[str, Spec]]:
    """Yield the security contexts of the pod and of its containers, with their owners."""
    yield "pod", security_of(pod)
    for container in containers_of(pod):
        yield container["name"], security_of(container)


def _unconfined(security: Spec) -> list[str]:
    """Return the violations of `baseline` that a pod and a container can have."""
    seccomp = security.get("seccompProfile", {}).get("type")
    apparmor = security.get("appArmorProfile", {}).get("type")
    selinux = security.get("seLinuxOptions", {})
    violations = ["seccompProfile is Unconfined"] if seccomp not in (None, *CONFINED) else []
    violations += ["appArmorProfile is Unconfined"] if apparmor not in (None, *CONFINED) else []
    violations += ["seLinuxOptions.type"] if selinux.get("type", "") not in SELINUX_TYPES else []
    violations += [f"seLinuxOptions.{key}" for key in ("user", "role") if selinux.get(key)]
    violations += ["hostProcess is true"] if security.get("windowsOptions", {}).get("hostProcess") else []
    return violations


def _host_access(container: Spec) -> list[str]:
    """Return the violations of `baseline` that only a container can have."""
    security = security_of(container)
    added = set(security.get("capabilities", {}).get("add", [])) - BASELINE_CAPABILITIES
    violations = ["privileged is true"] if security.get("privileged") else []
    violations += [f"capability {name} is added" for name in sorted(added)]
    violations += ["procMount"] if security.get("procMount", "Default") != "Default" else []
    violations += [f"hostPort {port['hostPort']}" for port in container.get("ports", []) if port.get("hostPort")]
    handlers = [container.get(name, {}) for name in PROBES]
    handlers += [container.get("lifecycle", {}).get(name, {}) for name in HOOKS]
    hosts = [handler.get(kind, {}).get("host") for handler in handlers for kind in ("httpGet", "tcpSocket")]
    return violations + [f"host {host} of a probe or hook" for host in hosts if host]


def _privileges(container: Spec, pod_security: Spec) -> list[str]:
    """Return the violations of `restricted` by a container; three of the values may be those of the pod."""
    security = security_of(container)
    capabilities = security.get("capabilities", {})
    seccomp = security.get("seccompProfile", pod_security.get("seccompProfile", {})).get("type")
    violations = ["allowPrivilegeEscalation != false"] if security.get("allowPrivilegeEscalation") is not False else []
    violations += ["capabilities.drop lacks ALL"] if "ALL" not in capabilities.get("drop", []) else []
    added = sorted(set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"})
    violations += [f"capability {name} is added" for name in added]
    non_root = security.get("runAsNonRoot", pod_security.get("runAsNonRoot"))
    violations += ["runAsNonRoot != true"] if non_root is not True else []
    return violations + ([] if seccomp in CONFINED else ["seccompProfile is not set"])
