"""The Dockerfile: its linter, what it promises, and the health check of the container."""

import re
import subprocess
import sys
import tomllib

import pytest
from prometheus_client import CollectorRegistry

from tests.artefacts import DEPLOY, ROOT, SCRIPTS
from vaeiso_monitor.telemetry import State, Telemetry
from vaeiso_monitor.web import ServerConfig, serve, web_app

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
HEALTHCHECK = DEPLOY / "docker" / "healthcheck.py"


def instructions():
    """Return (word, rest) of each instruction, lines joined and comments left out."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def stages():
    """Return the instructions of each stage, those of the stages that it builds on first."""
    found, current = {}, None
    for word, rest in instructions():
        if word == "FROM":
            origin, _, name = rest.partition(" AS ")
            current = found[name] = list(found.get(origin, []))
        elif current is not None:
            current.append((word, rest))
    return found


def test_the_linter_has_nothing_to_say():
    subprocess.run(
        [SCRIPTS / "hadolint", "--no-color", "--failure-threshold", "style", DOCKERFILE], check=True
    )


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_target_runs_as_a_user_under_an_init_with_a_health_check(target):
    said = dict(stages()[target])
    user, group = said["USER"].split(":")
    assert user.isdigit()
    assert group.isdigit()
    assert int(user) > 999
    assert said["ENTRYPOINT"] == '["tini", "--", "vaeiso-monitor"]'
    assert said["CMD"] == '["run", "/etc/vaeiso/config.toml"]'
    assert "healthcheck.py" in said["HEALTHCHECK"]
    assert said["WORKDIR"] == said["VOLUME"] == "/var/lib/vaeiso"
    assert any(f"--from=build-{target}" in rest for word, rest in stages()[target])


def test_every_install_is_pinned():
    installs = re.findall(r"pip install ([^&]+)", " && ".join(rest for _, rest in instructions()))
    assert len(installs) >= 5
    for words in installs:
        assert "-c constraints.txt" in words or "--no-deps" in words, words


def test_the_torch_of_the_cpu_target_is_the_pinned_one():
    pinned = re.findall(r"^torch==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert len(pinned) == 1
    assert "s/^torch==//p' constraints.txt" in DOCKERFILE.read_text()


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[><=!~ ]", line)[0].lower() for line in project["dependencies"]}
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert names <= pinned


def test_what_is_copied_exists_and_reaches_the_builder():
    rules = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    sent = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    copied = {
        name
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for name in rest.split()[:-1]
    }
    assert "*" in rules
    assert copied == set(sent)
    assert all((ROOT / name).exists() for name in sent)


def healthy(url):
    environment = {"HEALTH_URL": f"{url}/healthz", "http_proxy": "http://127.0.0.1:9"}
    words = [sys.executable, "-I", str(HEALTHCHECK)]
    return subprocess.run(words, env=environment, capture_output=True, check=False)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_health_check_says_whether_the_daemon_is_alive(scheme, certificates):
    pem = str(certificates / "server.pem") if scheme == "https" else None
    config = ServerConfig(port=0, tls_cert_file=pem, tls_key_file=pem)
    telemetry = Telemetry(CollectorRegistry(), version="0", torch_version="0")
    with serve(web_app(telemetry.status, telemetry.registry, config=config), config) as served:
        assert served.url.startswith(f"{scheme}://")
        assert healthy(served.url).returncode == 0
        telemetry.state_changed(State.FAILED)
        failed = healthy(served.url)
        assert failed.returncode == 1
        assert b"503" in failed.stderr


def test_the_health_check_fails_where_nobody_answers():
    gone = healthy("http://127.0.0.1:9")
    assert gone.returncode == 1
    assert b"Connection refused" in gone.stderr
