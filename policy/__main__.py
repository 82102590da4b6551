"""The policy pack: every rule is mandatory, so that a preview which breaks one fails."""

from __future__ import annotations

import pulumi
from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

from rules import RULES, Resource, Rule, StackRule, rules_of


def of_resources(rule: Rule) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        check = rule.checks.get(args.resource_type)
        for fault in check(args.props) if check else ():
            report(f"{args.name}: {fault}", args.urn)

    return ResourceValidationPolicy(rule.name, rule.description, validate=validate)


def of_stack(rule: StackRule) -> StackValidationPolicy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        resources = [
            Resource(
                type=one.resource_type,
                urn=one.urn,
                properties=one.props,
                protected=one.opts.protect,
                observes=frozenset(source.urn for source in one.property_dependencies.get("resourceUri", ())),
            )
            for one in args.resources
        ]
        for fault, urn in rule.check(resources):
            report(f"{urn.rpartition('::')[2]}: {fault}" if urn else fault, urn)

    return StackValidationPolicy(rule.name, rule.description, validate=validate)


PolicyPack(
    "relevo",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=[
        *(of_resources(rule) for rule in RULES),
        *(of_stack(rule) for rule in rules_of(pulumi.get_stack())),
    ],
)
