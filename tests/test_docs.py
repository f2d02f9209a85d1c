"""The declarations page: every block has an example, and together they are valid."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import yaml

from agent.cli.daemon import serve
from policies.declarations import Operations
from policies.declarations.binding import SystemsBlock
from policies.declarations.loader import parse

PAGE = (Path(__file__).parents[1] / "docs" / "declarations.md").read_text()


def test_the_examples_of_what_routes_the_traffic_are_valid() -> None:
    page = (Path(__file__).parents[1] / "docs" / "rollouts.md").read_text()
    examples = re.findall(r"^```yaml\n(systems:\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    blocks = [SystemsBlock.model_validate(yaml.safe_load(each)["systems"]) for each in examples]
    assert [block.traffic["ChurnModel"].type for block in blocks] == ["haproxy", "dns", "kserve"]


def test_the_examples_are_one_valid_file_that_has_every_block() -> None:
    examples = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    declared = parse("\n".join(examples), "declarations.md")
    assert set(Operations.model_fields) == declared.model_fields_set
    assert set(declared.deployment_strategies) == {"LateCanary", "LateShadow", "LateSwitch", "LateTest"}


def test_the_pods_probes_ask_the_gateway_on_a_port_it_opens() -> None:
    page = (Path(__file__).parents[1] / "docs" / "service.md").read_text()
    found = [yaml.safe_load(each) for each in re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)]
    (pod,) = [each["spec"]["template"]["spec"] for each in found if each.get("kind") == "Deployment"]
    (container,) = pod["containers"]
    gateway = inspect.signature(serve).parameters["gateway_port"].default
    assert gateway in {each["containerPort"] for each in container["ports"]}
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    health, ready = {"path": "/healthz", "port": gateway}, {"path": "/readyz", "port": gateway}
    assert asked == {"startup": health, "liveness": health, "readiness": ready}
