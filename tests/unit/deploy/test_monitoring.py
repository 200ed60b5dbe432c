"""docker/prometheus and docker/grafana name nothing that the service does not have, and leave no alert unexplained."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from service.engine.onnx_runtime import CPU, CUDA
from service.engine.openvino_runtime import OpenVinoRuntime
from service.errors import PROBLEMS
from service.http.app import create_app
from service.settings import Settings
from service.telemetry import EvictionReason
from tests import monitoring, onnx_factory
from tests.monitoring import GRAFANA, PROMETHEUS, ROOT, load, names_of
from tests.pictures import by_pillow, smooth_gray

GRAY = by_pillow(smooth_gray(48, 64), "PNG")
KEY = "a-key-that-is-long-enough"
SEVERITIES = {"critical", "warning", "info"}
OF_PROMETHEUS = {"up": set[str](), "ALERTS": {"alertname", "alertstate"}}
"""Series that Prometheus makes itself, and their labels beside those of the target."""
SCRAPE = load(PROMETHEUS / "prometheus.yml")["scrape_configs"][0]
DEVICES = [name.rstrip(".") for name in SCRAPE["dns_sd_configs"][0]["names"]]
"""Services of docker-compose.yml that are scraped."""
TARGET_LABELS = {"job", "instance"} | {config["target_label"] for config in SCRAPE["relabel_configs"]}
"""What Prometheus adds to every series of a target."""
VARIABLES = {"instance": ".*", "__rate_interval": "1m"}
ALERTS = monitoring.alerts()
EXPRESSIONS = (
    {f"alert {name}": alert["expr"] for name, alert in ALERTS.items()}
    | {f"record {rule['record']}": rule["expr"] for rule in monitoring.rules() if "record" in rule}
    | {f"panel {place}": monitoring.substitute(query, VARIABLES) for place, query in monitoring.queries().items()}
)

Series = dict[str, list[dict[str, str]]]


@pytest.fixture(scope="module")
def app_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    model = onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
    app = create_app(Settings(model=model, device="cpu", threads=1, api_keys=KEY))
    with TestClient(app, headers={"Authorization": f"Bearer {KEY}"}, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def served(app_client: TestClient) -> Series:
    """The labels of every sample of /metrics by its name, after a request of each kind."""
    client = app_client
    picture = {"content": GRAY, "headers": {"Content-Type": "image/png"}}
    assert client.post("/colorize", **picture).status_code == 200
    assert client.post("/colorize?variants=2&format=json", **picture).status_code == 200
    assert client.post("/colorize", content=b"x", headers={"Content-Type": "image/png"}).status_code == 415
    kept = client.post("/pictures", **picture)
    place = f"/{kept.headers['location']}"
    for path in (place, f"{place}/confidence", "/health", "/health/live", "/health/ready", "/model", "/", "/nowhere"):
        client.get(path)
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == 404
    assert client.get("/model", headers={"Authorization": "Bearer another"}).status_code == 401
    found: Series = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


@pytest.fixture(scope="module")
def labels(served: Series) -> dict[str, set[str]]:
    """Which labels the series have that an expression may name."""
    own = {name: set().union(*samples) for name, samples in served.items()} | OF_PROMETHEUS
    return {name: found | TARGET_LABELS for name, found in own.items()} | monitoring.records()


def test_every_series_and_label_exists(labels: dict[str, set[str]]) -> None:
    missing = []
    for place, expression in EXPRESSIONS.items():
        named, had = names_of(expression), set[str]()
        for name, matchers in named.series:
            of_series = labels.get(name, set())
            missing += [f"{place}: there is no {name}"] * (name not in labels)
            missing += [f"{place}: {name} has no label {label}" for label, _, _ in matchers if label not in of_series]
            had |= of_series
        missing += [f"{place}: nothing there has the label {label}" for label in named.labels - had]
        assert named.series or "vector(" in expression, f"{place} asks for nothing"
    assert missing == []


def values_of(label: str, served: Series) -> set[str]:
    """Return what a label can be, known or seen."""
    known = {
        "reason": {problem.name for problem in PROBLEMS} | set(get_args(EvictionReason)),
        "code": {str(problem.status) for problem in PROBLEMS} | {"200", "201", "204", "304", "499"},
        "job": {SCRAPE["job_name"]},
        "device": set(DEVICES),
        "provider": {CPU, CUDA, OpenVinoRuntime.provider},
        "instance": {"10.0.0.1:8000"},
        "alertname": set(ALERTS),
        "alertstate": {"pending", "firing"},
    }
    return known.get(label) or {sample[label] for samples in served.values() for sample in samples if label in sample}


def test_every_value_that_a_label_is_compared_with_can_occur(served: Series) -> None:
    never = []
    for place, expression in EXPRESSIONS.items():
        for _, matchers in names_of(expression).series:
            for label, operator, value in matchers:
                for alternative in value.split("|") if "~" in operator else [value]:
                    fits = re.compile(alternative if "~" in operator else re.escape(alternative)).fullmatch
                    if not any(map(fits, values_of(label, served))):
                        never.append(f"{place}: {label} is never {alternative}")
    assert never == []


def test_what_counts_as_a_request_for_a_picture_is_what_the_routes_say(app_client: TestClient) -> None:
    patterns = {
        value
        for expression in EXPRESSIONS.values()
        for _, matchers in names_of(expression).series
        for label, operator, value in matchers
        if (label, operator) == ("route", "=~")
    }
    (pattern,) = patterns
    for path, methods in app_client.get("/openapi.json").json()["paths"].items():
        is_picture = any("pictures" in method.get("tags", ()) for method in methods.values())
        assert bool(re.fullmatch(pattern, path)) is is_picture, path


def test_the_limits_are_those_of_the_settings_and_of_compose() -> None:
    services = load(ROOT / "docker-compose.yml")["services"]
    limits = {}
    for rule in monitoring.rules():
        if rule.get("record", "").endswith(":limit"):
            found = re.fullmatch(r"vector\(([\d *^]+)\)", rule["expr"])
            assert found, rule
            value = eval(found.group(1).replace("^", "**"))  # Nothing but digits and signs.
            limits[rule["record"].split(":")[1], rule.get("labels", {}).get("device")] = value
    settings = {name: value.default for name, value in Settings.model_fields.items()}
    assert limits == {
        ("waiting_requests", None): settings["max_queue"],
        ("inflight_megapixels", None): settings["max_inflight_megapixels"],
        ("held_bytes", None): settings["max_held_bytes"],
        ("spooled_bytes", None): settings["max_spooled_bytes"],
        ("kept_bytes", None): settings["kept_bytes"],
        ("request_seconds", None): settings["deadline_s"],
    } | {
        ("memory_bytes", name): _bytes_of(services[name]["deploy"]["resources"]["limits"]["memory"]) for name in DEVICES
    }


def _bytes_of(text: str) -> int:
    found = re.fullmatch(r"(?:\$\{\w+:-)?(\d+)g\}?", text)
    assert found, text
    return int(found.group(1)) * 2**30


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_and_where_to_read_on(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in SEVERITIES
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert alert["annotations"]["summary"].endswith(".")
    assert alert["annotations"]["description"].endswith(".")
    path, _, anchor = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor == name.lower()
    assert name in headings


def test_the_document_has_a_section_on_no_other_alert() -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert re.findall(r"^### (Photochrom\w+)$", text, re.MULTILINE) == list(ALERTS)
    table = dict(re.findall(r"^\| \[(Photochrom\w+)\]\(#\w+\) \| (\w+) \|", text, re.MULTILINE))
    assert table == {name: alert["labels"]["severity"] for name, alert in ALERTS.items()}


@pytest.mark.parametrize("name", ALERTS)
def test_no_alert_fires_for_a_single_burst(name: str) -> None:
    """A burst stays in the window of a rate for its whole length: the alert has to last at least as long."""
    rated = re.sub(r"changes\([^)]*\)", "", ALERTS[name]["expr"])
    assert max(monitoring.windows(rated), default=0) <= monitoring.seconds(ALERTS[name].get("for", "0s"))


def test_every_alert_is_provoked_and_is_silent_on_a_calm_day() -> None:
    provoked, silent = set(), list[set[str]]()
    for case in load(monitoring.RULE_TESTS)["tests"]:
        checks = case["alert_rule_test"]
        provoked |= {check["alertname"] for check in checks if check["exp_alerts"]}
        if case["name"].startswith("calm"):
            assert not any(check["exp_alerts"] for check in checks)
            silent.append({check["alertname"] for check in checks})
    assert provoked == set(ALERTS)
    assert silent == [set(ALERTS)] * 2


# -------------------------------------------------------------------------------------------------------- the dashboard


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = monitoring.dashboard()["panels"]
    return found


def test_panels_have_ids_units_and_places_of_their_own() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    taken = set[tuple[int, int]]()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + column, place["y"] + row) for column in range(place["w"]) for row in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"]
            letters = [target["refId"] for target in panel["targets"]]
            assert len(set(letters)) == len(letters) > 0


def test_there_is_a_row_for_each_part_of_the_service() -> None:
    assert panels()[0]["type"] == "row"
    assert [panel["title"] for panel in panels() if panel["type"] == "row"] == [
        "Now",
        "Traffic",
        "Latency by stage",
        "Queue and admission",
        "Inference and batches",
        "Memory and process",
        "Kept pictures",
        "Model",
    ]


def test_every_data_source_is_provisioned() -> None:
    known = {
        source["uid"] for source in load(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    }

    def sources(part: Any) -> Iterator[str]:
        for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            yield from sources(value)
        if isinstance(part, dict) and "datasource" in part:
            yield part["datasource"]["uid"]

    assert set(sources(monitoring.dashboard())) == known | {"-- Grafana --"}
    for panel in panels():
        if panel["type"] != "row":
            assert {target["datasource"]["uid"] for target in panel["targets"]} | {panel["datasource"]["uid"]} == known


def test_the_variable_for_the_instance_is_used_wherever_there_is_one(labels: dict[str, set[str]]) -> None:
    (variable,) = monitoring.dashboard()["templating"]["list"]
    assert variable["name"] == "instance"
    asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
    assert asked
    assert asked[2] in labels[asked[1]]
    for place, query in monitoring.queries().items():
        for name, matchers in names_of(query.replace("$", "")).series:
            if "instance" in labels[name] and name not in OF_PROMETHEUS:
                assert ("instance", "=~", "instance") in matchers, place


def test_legends_name_labels_that_the_series_have(labels: dict[str, set[str]]) -> None:
    for panel in panels():
        for target in panel.get("targets", ()):
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            named = names_of(target["expr"])
            grouped = named.labels or set().union(*(labels[name] for name, _ in named.series))
            assert used <= grouped, panel["title"]


def test_prometheus_and_grafana_find_their_files() -> None:
    """What compose mounts is where the configuration looks."""
    services = load(ROOT / "docker-compose.yml")["services"]
    mounts = {
        Path(source): target
        for service in ("prometheus", "grafana")
        for source, target in (volume.split(":")[:2] for volume in services[service]["volumes"])
        if source.startswith(".")
    }
    assert mounts == {
        Path("docker/prometheus"): "/etc/prometheus",
        Path("docker/grafana/provisioning"): "/etc/grafana/provisioning",
        Path("docker/grafana/dashboards"): load(GRAFANA / "provisioning" / "dashboards" / "photochrom.yml")[
            "providers"
        ][0]["options"]["path"],
    }
    assert DEVICES == ["cpu", "gpu"]
    assert set(DEVICES) <= set(services)
    # Without the dot the search domains of the host's network would be asked, too.
    assert all(name.endswith(".") for name in SCRAPE["dns_sd_configs"][0]["names"])
    assert {path.name for path in monitoring.RULE_FILES} == set(load(PROMETHEUS / "prometheus.yml")["rule_files"])
