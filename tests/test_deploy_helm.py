"""The Helm chart: lint, its schema, every object it renders, and the ways to contradict oneself."""

import functools
import json
import os
import re
import subprocess

import kubernetes_validate
import pytest
import yaml

from tests.artefacts import DEPLOY, document, documents, program, takes
from vaeiso_monitor.cli import main

CHART = DEPLOY / "helm" / "vaeiso-monitor"
CASES = sorted((CHART / "ci").glob("*.yaml"))
VERSIONS = ("1.29", "1.31", "1.34")  # of Kubernetes
OURS = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ScaledObject"}  # of the operators
SMALLEST = CHART / "ci" / "smallest-values.yaml"


def helm(*words, check=True):
    environment = os.environ | {"HELM_NO_PLUGINS": "1"}
    command = [program("helm"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=check, env=environment)


@functools.cache
def rendered(*words, version="1.31"):
    return documents(
        helm(
            "template", "plant", CHART, "--namespace", "pumps", "--kube-version", version, *words
        ).stdout
    )


def one(objects, kind):
    found = [each for each in objects if each["kind"] == kind]
    assert len(found) == 1, [each["metadata"]["name"] for each in found]
    return found[0]


def pod(objects):
    spec = one(objects, "StatefulSet")["spec"]["template"]["spec"]
    return spec, spec["containers"][0]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_lint_has_nothing_to_say(path):
    said = helm("lint", CHART, "--strict", "--values", path).stdout
    assert "WARNING" not in said
    assert "ERROR" not in said


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_kubernetes_takes_every_object(path, version):
    objects = rendered("--values", path, version=version)
    own = [each for each in objects if each["kind"] not in OURS]
    assert len(own) >= 4
    for each in own:
        kubernetes_validate.validate(each, version, strict=True)
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))
    assert all(each["metadata"]["namespace"] == "pumps" for each in objects)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_pod_is_confined_and_watched(path):
    spec, container = pod(rendered("--values", path))
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["resources"]["limits"]["memory"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    claims = one(rendered("--values", path), "StatefulSet")["spec"]["volumeClaimTemplates"]
    there = {volume["name"] for volume in spec["volumes"]}
    assert mounts == there | {claim["metadata"]["name"] for claim in claims}


def test_no_variable_of_a_service_gets_in():
    """Kubernetes would put VAEISO_PORT there for a Service "vaeiso": an unknown key to us."""
    assert pod(rendered("--values", SMALLEST))[0]["enableServiceLinks"] is False


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_variables_of_the_pod_are_keys(path, monkeypatch):
    _, container = pod(rendered("--values", path))
    given = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    loaded = takes({n: v for n, v in given.items() if n.startswith("VAEISO_")}, monkeypatch)
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    for file in (loaded.server.read_token_file, loaded.server.write_token_file):
        assert any(file.startswith(folder) for folder in mounted)
    port = {each["name"]: each["containerPort"] for each in container["ports"]}["http"]
    assert loaded.server.port == port


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_config_arrives_as_it_was_given(path, tmp_path, capsys):
    maps = [each for each in rendered("--values", path) if each["kind"] == "ConfigMap"]
    text = next(each["data"]["config.toml"] for each in maps if "config.toml" in each["data"])
    assert text.split() == document(path)["config"].split()
    file = tmp_path / "config.toml"
    file.write_text(text)
    assert main(["check", str(file)]) == 0, capsys.readouterr().err


def test_another_config_is_another_pod():
    def checksum(*words):
        spec = one(rendered("--values", SMALLEST, *words), "StatefulSet")["spec"]
        return spec["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum() == checksum()
    assert checksum() != checksum("--set-file", f"config={DEPLOY.parent / 'config.example.toml'}")


def test_what_the_prometheus_operator_gets(tmp_path):
    example = DEPLOY / "compose" / "monitor" / "config.toml"
    rules = tmp_path / "rules.yaml"
    assert main(["rules", str(example), "-o", str(rules)]) == 0
    objects = rendered(
        "--values", CHART / "ci" / "cluster-values.yaml", "--set-file",
        f"prometheusRule.rules={rules}",
    )  # fmt: skip
    monitor = one(objects, "ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    service = [
        each
        for each in objects
        if each["kind"] == "Service"
        and monitor["spec"]["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    ]
    assert len(service) == 1
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service[0]["spec"]["ports"]]
    assert (endpoint["path"], endpoint["scheme"]) == ("/metrics", "https")
    assert endpoint["authorization"]["credentials"] == {"name": "monitor-tokens", "key": "read"}
    # the job label that the rules go by
    job = service[0]["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    assert f'job="{job}"' in rules.read_text()
    groups = one(objects, "PrometheusRule")["spec"]["groups"]
    assert groups == document(rules)["groups"]


def test_what_the_prometheus_operator_gets_for_pods():
    objects = rendered("--values", CHART / "ci" / "gpu-values.yaml")
    monitor = one(objects, "PodMonitor")["spec"]
    template = one(objects, "StatefulSet")["spec"]["template"]
    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    names = [port["name"] for port in template["spec"]["containers"][0]["ports"]]
    assert endpoint["port"] in names
    assert monitor["jobLabel"] in template["metadata"]["labels"]
    assert (
        endpoint["authorization"]["credentials"]["name"]
        == one(objects, "Secret")["metadata"]["name"]
    )


def test_keda_scales_on_the_lag_of_the_group_in_the_config():
    objects = rendered("--values", CHART / "ci" / "cluster-values.yaml")
    scaled = one(objects, "ScaledObject")
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    target, workload = scaled["spec"]["scaleTargetRef"], one(objects, "StatefulSet")
    assert target == {
        "apiVersion": workload["apiVersion"],
        "kind": workload["kind"],
        "name": workload["metadata"]["name"],
    }
    assert "replicas" not in workload["spec"]  # or every upgrade would undo what KEDA did
    triggers = scaled["spec"]["triggers"]
    assert [each["metadata"]["topic"] for each in triggers] == ["machines", "valves"]
    for trigger in triggers:
        assert trigger["type"] == "kafka"
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        assert trigger["metadata"]["consumerGroup"] == "vaeiso-monitor"
        assert trigger["metadata"]["bootstrapServers"] == "kafka-0.kafka:9092,kafka-1.kafka:9092"
        assert trigger["metadata"]["offsetResetPolicy"] == "earliest"
        assert trigger["authenticationRef"] == {"name": "kafka"}


def test_of_several_replicas_only_the_first_trains():
    _, container = pod(rendered("--values", CHART / "ci" / "cluster-values.yaml"))
    script = container["args"][0].replace(
        "exec vaeiso-monitor", "echo ${VAEISO_RETRAIN__ENABLED} #"
    )
    for name, said in (("plant-0", ""), ("plant-1", "false"), ("plant-10", "false")):
        environment = {"POD_NAME": name, "PATH": os.environ["PATH"]}
        words = ["/bin/sh", "-c", script]
        ran = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == said


def test_a_gpu_is_asked_for_and_used():
    spec, container = pod(rendered("--values", CHART / "ci" / "gpu-values.yaml"))
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["resources"]["limits"]["memory"] == "6Gi"
    assert container["image"].endswith("-cuda")
    assert spec["runtimeClassName"] == "nvidia"
    assert {"name": "VAEISO_DEVICE", "value": "cuda"} in container["env"]


def test_the_tokens_are_random_and_differ():
    secret = one(rendered("--values", SMALLEST), "Secret")
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert len(set(secret["data"].values())) == 2
    again = one(rendered("--values", SMALLEST, version="1.30"), "Secret")
    assert secret["data"] != again["data"]


def test_the_dashboards_are_those_of_the_package(tmp_path):
    objects = rendered("--values", CHART / "ci" / "cluster-values.yaml")
    maps = [each for each in objects if "grafana_dashboard" in each["metadata"]["labels"]]
    assert main(["dashboards", str(tmp_path)]) == 0
    shown = {name: json.loads(text) for each in maps for name, text in each["data"].items()}
    assert shown == {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert len(shown) == 3


KAFKA = ["--values", SMALLEST]
FILES = ["--set-file", f"config={DEPLOY.parent / 'config.example.toml'}"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "config is empty"),
        (["--set", "config=x ="], "not valid TOML"),
        (["--set", "config=x=1"], r"config has no \[source\]"),
        ([*KAFKA, "--set", "replicas=2"], "needs sharedStore.enabled=true"),
        ([*KAFKA, "--set", "keda.enabled=true"], "needs sharedStore.enabled=true"),
        ([*KAFKA, "--set", "prometheusRule.enabled=true"], "vaeiso-monitor rules"),
        ([*KAFKA, "--set", "env.DEBUG=1"], "DEBUG"),
        ([*KAFKA, "--set", "replica=2"], "replica"),
        ([*KAFKA, "--set", "metrics.kind=Probe"], "metrics.kind|metrics/kind"),
        ([*KAFKA, "--set", "persistence.size=ten"], "persistence.size|persistence/size"),
        (
            [*FILES, "--set", "replicas=2", "--set", "sharedStore.enabled=true"],
            "source of type kafka",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_in_words(words, told):
    found = helm("template", "plant", CHART, "--kube-version", "1.31", *words, check=False)
    assert found.returncode != 0
    assert re.search(told, found.stderr)


def test_every_value_is_in_the_schema_and_described():
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = document(CHART / "values.yaml")
    assert set(schema["properties"]) - {"global"} == set(defaults)
    described = set(re.findall(r"^\| `([^`]+)`", (CHART / "README.md").read_text(), re.M))

    def leaves(table, shape, path=""):
        for key, value in table.items():
            inner = shape["properties"].get(key)
            assert inner is not None, path + key
            if isinstance(value, dict) and inner.get("properties"):
                yield from leaves(value, inner, f"{path}{key}.")
            else:
                yield path + key, value

    known = dict(leaves(defaults, schema))
    probes = {name for name in known if name.startswith("probes.")}
    assert described - {"probes"} == set(known) - probes
    said = dict(
        re.findall(r"^\| `([^`]+)` \| `([^`]*)` \|", (CHART / "README.md").read_text(), re.M)
    )
    for name, value in known.items():
        if name in said:
            assert yaml.safe_load(said[name]) == value, name


def test_the_chart_has_the_version_of_the_program():
    import vaeiso_monitor

    assert document(CHART / "Chart.yaml")["appVersion"] == vaeiso_monitor.__version__
