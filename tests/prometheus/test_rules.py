"""promtool: the configuration and the rules are valid, and every alert does what its tests say."""

import re
import subprocess
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from tests import monitoring
from tests.monitoring import PROMETHEUS, ROOT, RULE_TESTS


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["promtool", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def promtool(*arguments: object) -> str:
    result = run(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_configuration_is_valid() -> None:
    told = promtool("check", "config", "--lint=all", "--lint-fatal", PROMETHEUS / "prometheus.yml")
    assert f"{len(monitoring.RULE_FILES)} rule files found" in told


def test_the_rules_are_valid() -> None:
    told = promtool("check", "rules", "--lint=all", "--lint-fatal", *monitoring.RULE_FILES)
    assert sum(map(int, re.findall(r"(\d+) rules found", told))) == len(monitoring.rules())


def test_the_rules_for_kubernetes_are_valid(tmp_path: Path) -> None:
    manifest = monitoring.load(ROOT / "docker" / "kubernetes" / "monitoring" / "rules.yaml")
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(manifest["spec"]))
    told = promtool("check", "rules", "--lint=all", "--lint-fatal", tmp_path / "rules.yml")
    assert f"{len(monitoring.rules())} rules found" in told


def test_every_alert_fires_when_provoked_and_is_silent_otherwise() -> None:
    assert "SUCCESS" in promtool("test", "rules", RULE_TESTS)


@pytest.mark.parametrize(
    ("expression", "cases"),
    [("vector(1) == 0", "provoked"), ("vector(1)", "calm")],
    ids=["deaf", "mad"],
)
def test_the_tests_notice_alerts_that_do_not_work(expression: str, cases: str, tmp_path: Path) -> None:
    """Alerts that never fire fail the tests that provoke them; alerts that always do fail the calm ones."""
    rules = deepcopy(monitoring.load(PROMETHEUS / "alerts.yml"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule |= {"expr": expression, "for": "0s"}
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(rules))
    tests = monitoring.load(RULE_TESTS) | {"rule_files": ["alerts.yml"]}
    tests["tests"] = [case for case in tests["tests"] if case["name"].startswith("calm") is (cases == "calm")]
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests))
    result = run("test", "rules", tmp_path / "tests.yml")
    assert result.returncode == 1
    failed = re.findall(r"alertname: (\w+)", result.stdout + result.stderr)
    assert set(failed) == set(monitoring.alerts())
