"""The manifests for Kubernetes: valid by its own strict schemas, and true to the image, the settings and the routes."""

import copy
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fastapi.routing import APIRoute
from pydantic import ValidationError

from service.http.app import ROUTERS
from service.settings import ENV_PREFIX, Settings
from service.telemetry import Metrics
from tests import monitoring

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docker" / "kubernetes"
BASE = FOLDER / "base"
VERSIONS = ("1.35", "1.36", "1.37")
"""Of Kubernetes; a field that one of them does not know is an error."""
NOT_OF_KUBERNETES = ("Kustomization", "ServiceMonitor", "PrometheusRule", "InferenceService")
NAME = "app.kubernetes.io/name"

Manifest = dict[str, Any]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def base() -> dict[str, Manifest]:
    """Return the manifests that base/kustomization.yaml lists, by kind."""
    listed = [read(BASE / name) for name in read(BASE / "kustomization.yaml")["resources"]]
    return {manifest["kind"]: manifest for manifest in listed}


def patched(manifest: Manifest, operations: list[Manifest]) -> Manifest:
    """Apply a JSON patch (RFC 6902): what kustomize does, as far as ours need it."""
    result = copy.deepcopy(manifest)
    for operation in operations:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        at: Any = result
        for part in way:
            at = at[int(part)] if isinstance(at, list) else at[part]
        if isinstance(at, list):
            assert (operation["op"], last) == ("add", "-")
            at.append(operation["value"])
            continue
        assert operation["op"] == ("replace" if last in at else "add"), operation["path"]
        at[last] = operation["value"]
    return result


def gpu() -> dict[str, Manifest]:
    """Return the manifests of the GPU overlay, by kind."""
    manifests = base()
    for patch in read(FOLDER / "gpu" / "kustomization.yaml")["patches"]:
        target = manifests[patch["target"]["kind"]]
        assert target["metadata"]["name"] == patch["target"]["name"]
        manifests[target["kind"]] = patched(target, read(FOLDER / "gpu" / patch["path"]))
    return manifests


def inference_service() -> Manifest:
    manifest: Manifest = read(FOLDER / "kserve" / "inference-service.yaml")
    return manifest


def pods() -> dict[str, Manifest]:
    """Return the specification of each kind of pod that the service runs in."""
    predictor = dict(inference_service()["spec"]["predictor"])
    for field in ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "timeout"):
        del predictor[field]
    return {
        "base": base()["Deployment"]["spec"]["template"]["spec"],
        "gpu": gpu()["Deployment"]["spec"]["template"]["spec"],
        "kserve": predictor,
    }


def environment(container: Manifest) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def settings_of(container: Manifest, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment(container).items():
        monkeypatch.setenv(name, value)
    return Settings(_env_file=None)


def in_bytes(quantity: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"Mi": 2**20, "Gi": 2**30}[unit]


def known_paths() -> set[str]:
    return {route.path for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)}


def empty_folders(pod: Manifest) -> dict[str, Manifest]:
    return {volume["name"]: volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume}


each_pod = pytest.mark.parametrize("kind", ["base", "gpu", "kserve"])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid(version: str) -> None:
    checked = 0
    for manifests in (base(), gpu()):
        for manifest in manifests.values():
            assert kubernetes_validate.validate(manifest, version, strict=True) == version
            checked += 1
    assert checked == 12
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "predictor"}, "spec": pods()["kserve"]}
    assert kubernetes_validate.validate(pod, version, strict=True) == version


def test_the_schemas_are_strict() -> None:
    wrong = base()["Deployment"]
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_every_file_is_used() -> None:
    """By a kustomization, or by hand: the KServe service, and the values of the adapter's chart."""
    used = {FOLDER / "kserve" / "inference-service.yaml", FOLDER / "monitoring" / "prometheus-adapter.yaml"}
    for path in FOLDER.rglob("kustomization.yaml"):
        kustomization = read(path)
        named = kustomization["resources"] + [patch["path"] for patch in kustomization.get("patches", [])]
        places = [(path.parent / name).resolve() for name in named]
        assert all(place.exists() for place in places), path
        used |= {path, *places}
    assert set(FOLDER.rglob("*.yaml")) <= used
    assert set(base()) == {
        "Namespace",
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
    }
    foreign = {read(path)["kind"] for path in FOLDER.rglob("*.yaml") if "kind" in (read(path) or {})} - set(base())
    assert foreign == set(NOT_OF_KUBERNETES)


@each_pod
def test_probes_ask_routes_that_exist(kind: str) -> None:
    [container] = pods()[kind]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    asked = {}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        get = container[probe]["httpGet"]
        assert ports.get(get["port"], get["port"]) == Settings.model_fields["port"].default
        asked[probe] = get["path"]
    assert set(asked.values()) <= known_paths()
    # A full queue, or a service that is stopping, is no reason for a restart: never ask liveness for readiness.
    assert asked["livenessProbe"].endswith("/live")
    assert asked["startupProbe"] == asked["readinessProbe"]
    assert asked["readinessProbe"].endswith("/ready")


@each_pod
def test_ports_user_and_image_are_those_of_the_dockerfile(kind: str) -> None:
    dockerfile = (ROOT / "docker" / "service.Dockerfile").read_text()
    exposed = re.search(r"^EXPOSE (\d+)$", dockerfile, re.MULTILINE)
    user = re.search(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)
    assert exposed
    assert user
    pod = pods()[kind]
    [container] = pod["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [int(exposed.group(1))]
    assert environment(container)["PHOTOCHROM_PORT"] == exposed.group(1)
    assert pod["securityContext"]["runAsUser"] == int(user.group(1))
    assert pod["securityContext"]["runAsGroup"] == int(user.group(2))


def test_images_are_those_of_compose() -> None:
    compose = read(ROOT / "docker-compose.yml")["services"]
    built = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", compose[name]["image"]) for name in ("cpu", "gpu")}
    images = {kind: pod["containers"][0]["image"] for kind, pod in pods().items()}
    assert images == {"base": built["cpu"], "gpu": built["gpu"], "kserve": built["cpu"]}
    for folder, image in (("base", built["cpu"]), ("gpu", built["gpu"])):
        [entry] = read(FOLDER / folder / "kustomization.yaml")["images"]
        assert entry["name"] == image.partition(":")[0]
        assert f"{entry['newName']}:{entry['newTag']}" == image


@each_pod
def test_settings_are_known_and_make_sense(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [container] = pods()[kind]["containers"]
    fields = {name.removeprefix(ENV_PREFIX).lower() for name in environment(container)}
    assert fields <= set(Settings.model_fields)
    settings = settings_of(container, monkeypatch)
    assert settings.max_megapixels <= settings.max_inflight_megapixels
    assert settings.device == ("cuda" if kind == "gpu" else "auto")


@each_pod
def test_no_variable_of_a_service_takes_the_place_of_a_setting(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes would set PHOTOCHROM_PORT to an address, for the Service of this name."""
    monkeypatch.setenv("PHOTOCHROM_PORT", "tcp://10.0.0.1:8000")
    with pytest.raises(ValidationError, match="port"):
        Settings(_env_file=None)
    assert pods()[kind]["enableServiceLinks"] is False


@each_pod
def test_what_is_under_way_may_end(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = pods()[kind]
    [container] = pod["containers"]
    settings = settings_of(container, monkeypatch)
    assert pod["terminationGracePeriodSeconds"] >= settings.drain_notice_s + settings.drain_s + 5
    # The load balancer has seen two probes fail before the port closes.
    readiness = container["readinessProbe"]
    assert settings.drain_notice_s >= readiness["periodSeconds"] * readiness["failureThreshold"]


@each_pod
def test_a_pod_can_do_no_more_than_it_needs(kind: str) -> None:
    pod = pods()[kind]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["/tmp", "/spool"]
    assert empty_folders(pod)["tmp"]["medium"] == "Memory"
    labels = base()["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@each_pod
def test_keys_are_read_from_the_secret(kind: str) -> None:
    pod = pods()[kind]
    [container] = pod["containers"]
    place = Path(environment(container)["PHOTOCHROM_API_KEYS_FILE"])
    [mount] = [mount for mount in container["volumeMounts"] if mount["mountPath"] == str(place.parent)]
    [volume] = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
    assert volume["secret"]["defaultMode"] == 0o440
    assert not volume["secret"].get("optional")
    page = (ROOT / "docs" / "containers.md").read_text()
    assert f"secret generic {volume['secret']['secretName']} --from-file={place.name}=" in page


@each_pod
def test_memory_is_enough_by_the_rule(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule of docs/operating.md, at its worst: 23 MB a megapixel in flight, and all that may be held and kept."""
    pod = pods()[kind]
    [container] = pod["containers"]
    settings = settings_of(container, monkeypatch)
    temporary = empty_folders(pod)["tmp"]
    worst = 0.75e9 + 23e6 * settings.max_inflight_megapixels + settings.max_held_bytes + settings.kept_bytes
    limits, requests = container["resources"]["limits"], container["resources"]["requests"]
    assert worst + in_bytes(temporary["sizeLimit"]) <= in_bytes(limits["memory"])
    assert in_bytes(requests["memory"]) <= in_bytes(limits["memory"])
    # Whole cores, all of them asked for: the service has as many threads.
    assert requests["cpu"] == limits["cpu"] == str(int(limits["cpu"]))


@each_pod
def test_large_uploads_go_to_a_disk_with_room_for_them(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod whose folder grows beyond its limit is evicted: the service's own limit is below."""
    pod = pods()[kind]
    [container] = pod["containers"]
    settings = settings_of(container, monkeypatch)
    [mount] = [mount for mount in container["volumeMounts"] if mount["mountPath"] == str(settings.spool_dir)]
    folder = empty_folders(pod)[mount["name"]]
    assert "medium" not in folder
    assert settings.max_upload_bytes < settings.max_spooled_bytes < in_bytes(folder["sizeLimit"])


def test_selectors_find_the_pods() -> None:
    manifests = base()
    template = manifests["Deployment"]["spec"]["template"]
    labels: Mapping[str, str] = template["metadata"]["labels"]

    def finds(selector: Mapping[str, str]) -> bool:
        return bool(selector) and selector.items() <= labels.items()

    assert finds(manifests["Deployment"]["spec"]["selector"]["matchLabels"])
    assert finds(manifests["Service"]["spec"]["selector"])
    assert finds(manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"])
    assert finds(manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"])
    [spread] = template["spec"]["topologySpreadConstraints"]
    assert finds(spread["labelSelector"]["matchLabels"])
    target = manifests["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    deployment = manifests["Deployment"]
    assert target == {key: deployment[key] for key in ("apiVersion", "kind")} | {"name": deployment["metadata"]["name"]}
    assert "replicas" not in deployment["spec"]
    # KServe's pods are not taken for those of the Deployment.
    assert not finds({NAME: inference_service()["metadata"]["labels"][NAME]})
    monitor = read(FOLDER / "monitoring" / "service-monitor.yaml")["spec"]["selector"]["matchLabels"]
    assert monitor.items() <= manifests["Service"]["metadata"]["labels"].items()


def test_ports_are_named_alike() -> None:
    manifests = base()
    template = manifests["Deployment"]["spec"]["template"]
    [port] = template["spec"]["containers"][0]["ports"]
    [of_service] = manifests["Service"]["spec"]["ports"]
    assert of_service["targetPort"] == port["name"]
    [rule] = manifests["NetworkPolicy"]["spec"]["ingress"]
    assert [one["port"] for one in rule["ports"]] == [port["name"]]
    [endpoint] = read(FOLDER / "monitoring" / "service-monitor.yaml")["spec"]["endpoints"]
    assert endpoint["port"] == of_service["name"]
    notes = template["metadata"]["annotations"]
    assert notes["prometheus.io/port"] == str(port["containerPort"])
    assert {endpoint["path"], notes["prometheus.io/path"]} <= known_paths()


def test_nothing_gets_out() -> None:
    policy = base()["NetworkPolicy"]["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["egress"] == []
    assert all(rule["from"] for rule in policy["ingress"])


def metric_names() -> Iterator[str]:
    for line in Metrics().exposition().decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            if kind == "gauge":
                yield name


def test_the_autoscaler_watches_a_metric_that_exists() -> None:
    metrics = base()["HorizontalPodAutoscaler"]["spec"]["metrics"]
    [watched] = [metric["pods"]["metric"]["name"] for metric in metrics if metric["type"] == "Pods"]
    assert watched in set(metric_names())
    [rule] = read(FOLDER / "monitoring" / "prometheus-adapter.yaml")["rules"]["custom"]
    assert rule["seriesQuery"].partition("{")[0] == watched
    assert re.sub(rule["name"]["matches"], rule["name"]["as"], watched) == watched
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}
    assert "<<.Series>>{<<.LabelMatchers>>}" in rule["metricsQuery"]
    # Where there is no adapter the processors decide.
    assert [metric["resource"]["name"] for metric in metrics if metric["type"] == "Resource"] == ["cpu"]


def test_the_rules_are_those_of_prometheus_with_the_limits_of_the_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    file = FOLDER / "monitoring" / "rules.yaml"
    spec = importlib.util.spec_from_file_location("make_rules", FOLDER / "make_rules.py")
    assert spec
    assert spec.loader
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert file.read_text() == maker.render(), "python docker/kubernetes/make_rules.py"
    made = [rule for group in read(file)["spec"]["groups"] for rule in group["rules"]]
    alerts = {rule["alert"]: rule for rule in made if "alert" in rule}
    assert {name: rule["expr"] for name, rule in alerts.items()} == {
        name: rule["expr"].strip() for name, rule in monitoring.alerts().items()
    }
    limits = {
        (rule["record"].split(":")[1], rule.get("labels", {}).get("device")): float(rule["expr"][7:-1])
        for rule in made
        if rule.get("record", "").endswith(":limit")
    }
    settings = settings_of(pods()["base"]["containers"][0], monkeypatch)
    assert limits == {
        ("waiting_requests", None): settings.max_queue,
        ("inflight_megapixels", None): settings.max_inflight_megapixels,
        ("held_bytes", None): settings.max_held_bytes,
        ("spooled_bytes", None): settings.max_spooled_bytes,
        ("kept_bytes", None): settings.kept_bytes,
        ("request_seconds", None): settings.deadline_s,
        ("memory_bytes", "cpu"): in_bytes(pods()["base"]["containers"][0]["resources"]["limits"]["memory"]),
        ("memory_bytes", "gpu"): in_bytes(pods()["gpu"]["containers"][0]["resources"]["limits"]["memory"]),
    }


def test_a_target_says_which_device_is_meant() -> None:
    """As the alerts need it: the operator copies the label of the pod."""
    meant = {
        kind: made()["Deployment"]["spec"]["template"]["metadata"]["labels"]
        for kind, made in (("cpu", base), ("gpu", gpu))
    }
    assert {kind: labels["device"] for kind, labels in meant.items()} == {"cpu": "cpu", "gpu": "gpu"}
    assert read(FOLDER / "monitoring" / "service-monitor.yaml")["spec"]["podTargetLabels"] == ["device"]


def test_there_is_always_a_replica() -> None:
    manifests = base()
    scale = manifests["HorizontalPodAutoscaler"]["spec"]
    assert scale["minReplicas"] > manifests["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    assert manifests["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    rolling = gpu()["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert rolling["maxUnavailable"] < scale["minReplicas"]


def test_the_gpu_overlay_asks_for_a_gpu_and_changes_nothing_else() -> None:
    before, after = base(), gpu()
    limits = after["Deployment"]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
    [toleration] = after["Deployment"]["spec"]["template"]["spec"]["tolerations"]
    assert toleration["key"] == "nvidia.com/gpu"
    assert {kind for kind in before if before[kind] != after[kind]} == {"Deployment", "HorizontalPodAutoscaler"}
    for kind in before:
        assert before[kind]["metadata"] == after[kind]["metadata"]
