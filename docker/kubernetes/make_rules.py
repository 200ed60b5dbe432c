"""Writes monitoring/rules.yaml: the alerts of docker/prometheus as a PrometheusRule, with the limits of the manifests.

    python docker/kubernetes/make_rules.py

Call it again when docker/prometheus or the settings and limits in base/ or gpu/ have changed. Imports nothing of the
project; needs PyYAML.
"""

import re
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).resolve().parent
PROMETHEUS: Final = FOLDER.parent / "prometheus"
TARGET: Final = FOLDER / "monitoring" / "rules.yaml"
SETTINGS: Final = {
    "photochrom:waiting_requests:limit": "PHOTOCHROM_MAX_QUEUE",
    "photochrom:inflight_megapixels:limit": "PHOTOCHROM_MAX_INFLIGHT_MEGAPIXELS",
    "photochrom:held_bytes:limit": "PHOTOCHROM_MAX_HELD_BYTES",
    "photochrom:spooled_bytes:limit": "PHOTOCHROM_MAX_SPOOLED_BYTES",
    "photochrom:kept_bytes:limit": "PHOTOCHROM_KEPT_BYTES",
    "photochrom:request_seconds:limit": "PHOTOCHROM_DEADLINE_S",
}
"""What the series of limits.yml are set by."""
MEMORY: Final = "photochrom:memory_bytes:limit"
MEMORY_PATH: Final = "/spec/template/spec/containers/0/resources/limits/memory"
HEAD: Final = """\
# Made by docker/kubernetes/make_rules.py from docker/prometheus and the limits in base/ and gpu/: change those.
"""

Rule = dict[str, Any]


class Dumper(yaml.SafeDumper):
    """Writes text of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, _text)


def read(path: Path) -> Any:
    """Return what a YAML file holds."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def in_bytes(quantity: str) -> int:
    """Return a quantity of Kubernetes, such as 2Gi, in bytes."""
    found = re.fullmatch(r"(\d+)(Mi|Gi)", quantity)
    if found is None:
        raise ValueError(f"{quantity} is no number of Mi or Gi")
    return int(found[1]) * {"Mi": 2**20, "Gi": 2**30}[found[2]]


def limits() -> tuple[dict[str, str], dict[str, int]]:
    """Return the settings of the manifests by name, and the memory of a container in bytes by device."""
    container = read(FOLDER / "base" / "deployment.yaml")["spec"]["template"]["spec"]["containers"][0]
    patch = {change["path"]: change["value"] for change in read(FOLDER / "gpu" / "deployment.yaml")}
    memory = {"cpu": container["resources"]["limits"]["memory"], "gpu": patch[MEMORY_PATH]}
    settings = {variable["name"]: variable["value"] for variable in container["env"]}
    return settings, {device: in_bytes(quantity) for device, quantity in memory.items()}


def adapted(rule: Rule, settings: dict[str, str], memory: dict[str, int]) -> Rule:
    """Return a rule with the limits of the manifests; what they do not set keeps the service's own default."""
    rule = rule | {"expr": rule["expr"].strip()}
    name = rule.get("record", "")
    if name == MEMORY:
        return rule | {"expr": f"vector({memory[rule['labels']['device']]})"}
    value = settings.get(SETTINGS.get(name, ""))
    return rule if value is None else rule | {"expr": f"vector({value})"}


def render() -> str:
    """Return the manifest."""
    settings, memory = limits()
    groups = [
        group | {"rules": [adapted(rule, settings, memory) for rule in group["rules"]]}
        for name in ("limits.yml", "alerts.yml")
        for group in read(PROMETHEUS / name)["groups"]
    ]
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "photochrom",
            "labels": {"app.kubernetes.io/name": "photochrom", "app.kubernetes.io/part-of": "photochrom"},
        },
        "spec": {"groups": groups},
    }
    return HEAD + yaml.dump(manifest, Dumper=Dumper, sort_keys=False, width=110)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
