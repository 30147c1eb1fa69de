"""What the documents tell one to type exists: verbs, options, files of deploy/."""

import re
import shlex

import pytest
import typer.main

from tests.artefacts import DEPLOY, ROOT, document
from tests.test_docs import PAGES, commands, slug, spelled
from vaeiso_monitor.cli import app

ALL = [*PAGES, DEPLOY / "helm" / "vaeiso-monitor" / "README.md"]
COMMANDS = dict(commands())
_CALL = re.compile(r"(?:^|[ /`'(])(vaeiso-monitor(?: [^`\n|>;&)']+)?)", re.M)


def calls(text):
    """Yield the words of each call of the program inside of code, where a verb follows it."""
    verbs = {words.split()[1] for words in COMMANDS}
    for code in re.findall(r"^```\w*\n(.*?)^```|`([^`\n]+)`", text, flags=re.M | re.S):
        joined = "".join(code).replace("\\\n", " ")
        for found in _CALL.findall(joined):
            words = shlex.split(found, comments=True)
            if len(words) > 1 and words[1] in verbs:
                yield words


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_call_names_a_verb_and_its_options(path):
    for words in calls(path.read_text(encoding="utf-8")):
        depth = 3 if " ".join(words[:3]) in COMMANDS else 2
        command = COMMANDS.get(" ".join(words[:depth]))
        if command is None:
            assert any(known.startswith(" ".join(words[:2]) + " ") for known in COMMANDS), words
            continue
        options = {word.partition("=")[0] for word in words[depth:] if word.startswith("-")}
        assert options - {"-"} <= spelled(command) | {"--help", "-h"}, words


def test_the_calls_are_found():
    text = "```\nvaeiso-monitor run x.toml --for 3\n```\n and `.venv/bin/vaeiso-monitor check a`"
    assert [words[1] for words in calls(text)] == ["run", "check"]
    assert typer.main.get_command(app)


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_of_deploy_that_is_named_exists(path):
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![\w/.])deploy/[\w./-]*\w", text):
        assert (ROOT / name).exists(), name


def test_the_links_of_the_chart_lead_somewhere():
    path = ALL[-1]
    text = path.read_text(encoding="utf-8")
    heads = {slug(head) for head in re.findall(r"^#+ +(.+)$", text, re.M)}
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        assert target.removeprefix("#") in heads if target[0] == "#" else True


def test_the_page_about_deployment_names_what_compose_publishes():
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    for service in document(DEPLOY / "compose" / "compose.yaml")["services"].values():
        for port in service.get("ports", []):
            assert port.rpartition(":")[0] in text
