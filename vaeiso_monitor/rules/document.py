"""Rules as a file: for Prometheus itself, or as an object for its operator on Kubernetes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import yaml

from vaeiso_monitor.rules.terms import span

if TYPE_CHECKING:
    from vaeiso_monitor.rules.rule import Group, Options, Rule

Format = Literal["prometheus", "kubernetes"]

_WIDTH = 110


def to_yaml(
    groups: Sequence[Group], options: Options, head: str, format_: Format = "prometheus"
) -> str:
    """Return the file; ``head`` says where it comes from, and rules left out are named with it."""
    lines = [head, *(f"{out.name} is left out: {out.why}." for g in groups for out in g.left_out)]
    if options.speed != 1:
        lines.append(
            f"FOR A TRIAL: all waiting times and windows are {options.speed:g} times shorter."
        )
    content: dict[str, Any] = {
        "groups": [_group(group, options) for group in groups if group.rules]
    }
    if format_ == "kubernetes":
        name = options.job.lower().replace("_", "-")
        content = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "vaeiso-monitor"}},
            "spec": content,
        }
    comments = "".join(f"# {line}\n" for line in lines)
    return comments + yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True
    )


def _group(group: Group, options: Options) -> dict[str, Any]:
    return {"name": group.name, "rules": [_rule(rule, options) for rule in group.rules]}


def _rule(rule: Rule, options: Options) -> dict[str, Any]:
    wait = {"for": span(rule.for_seconds)} if rule.for_seconds else {}
    trial = {} if options.speed == 1 else {"trial": f"{options.speed:g}x"}
    return {
        "alert": rule.name,
        "expr": rule.expr,
        **wait,
        "labels": {"severity": rule.severity, **trial, **options.labels},
        "annotations": {
            "summary": rule.summary,
            "description": rule.description,
            "runbook_url": f"{options.runbooks}#{rule.anchor}",
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and lists indented below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists too: what is below a key is seen to be."""
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else ">" if len(text) > _WIDTH else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
