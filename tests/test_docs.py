"""The declarations page: every block has an example, and together they are valid."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import yaml

from agent.cli.daemon import serve
from policies.declarations import Operations
from policies.declarations.binding import SystemsBlock
from policies.declarations.loader import parse

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "declarations.md").read_text()


def test_the_examples_of_what_routes_the_traffic_are_valid() -> None:
    page = (DOCS / "rollouts.md").read_text()
    examples = re.findall(r"^```yaml\n(systems:\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    blocks = [SystemsBlock.model_validate(yaml.safe_load(each)["systems"]) for each in examples]
    assert [block.traffic["ChurnModel"].type for block in blocks] == ["haproxy", "dns", "kserve"]


def test_the_examples_are_one_valid_file_that_has_every_block() -> None:
    examples = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    declared = parse("\n".join(examples), "declarations.md")
    assert set(Operations.model_fields) == declared.model_fields_set
    assert set(declared.deployment_strategies) == {"LateCanary", "LateShadow", "LateSwitch", "LateTest"}


def manifests(page: str, kind: str) -> list[dict[str, Any]]:
    text = (DOCS / page).read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found = [each for block in blocks for each in yaml.safe_load_all(block)]
    return [each for each in found if each.get("kind") == kind]


def test_the_pods_probes_ask_the_gateway_on_a_port_it_opens() -> None:
    (deployment,) = manifests("service.md", "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    gateway = inspect.signature(serve).parameters["gateway_port"].default
    assert gateway in {each["containerPort"] for each in container["ports"]}
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    health, ready = {"path": "/healthz", "port": gateway}, {"path": "/readyz", "port": gateway}
    assert asked == {"startup": health, "liveness": health, "readiness": ready}


def test_the_service_leads_to_the_pods_ports() -> None:
    (deployment,), (service,) = (manifests("service.md", kind) for kind in ("Deployment", "Service"))
    template = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    opened = {each["containerPort"] for each in container["ports"]}
    assert {each["port"] for each in service["spec"]["ports"]} == opened


def test_a_pod_may_write_to_its_volume_as_the_images_user() -> None:
    (user,) = re.findall(r"useradd --uid (\d+)", (DOCS / "service.md").read_text())
    (deployment,), (nightly,) = manifests("service.md", "Deployment"), manifests("nightly.md", "CronJob")
    for template in (deployment["spec"]["template"], nightly["spec"]["jobTemplate"]["spec"]["template"]):
        assert any("persistentVolumeClaim" in each for each in template["spec"]["volumes"])
        context = template["spec"]["securityContext"]
        assert (context["runAsUser"], context["fsGroup"]) == (int(user), int(user))
