"""The way in: Front Door, its firewall, and an address by which each instance is verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import cdn, frontdoor

from components.azure.diagnostics import diagnostics
from components.azure.origins import ENABLED, GROUP
from components.azure.place import Place
from components.azure.secret_names import VERIFY_HEADER
from components.azure.sizing import FrontDoorTier, check_endpoints

# Between gunicorn's 30 s for a request and the most that Front Door waits, 240 s.
RESPONSE_SECONDS = 60
# "Improve performance by compressing files in Azure Front Door": of these, what a Django backend serves.
COMPRESSED = (
    "application/javascript",
    "application/json",
    "application/manifest+json",
    "application/xml",
    "image/svg+xml",
    "text/css",
    "text/html",
    "text/javascript",
    "text/plain",
    "text/xml",
)
# "Web Application Firewall DRS rule groups and rules": the newest of each kind that is generally available.
MANAGED_RULES = {"Microsoft_DefaultRuleSet": "2.2", "Microsoft_BotManagerRuleSet": "1.1"}


@dataclass(frozen=True, kw_only=True)
class FrontDoorArgs:
    """`tier`: a Premium profile cannot become a Standard one again."""

    place: Place
    tier: FrontDoorTier
    workspace_id: pulumi.Input[str]


class FrontDoor(pulumi.ComponentResource):
    """The profile alone. The sites need its id before the origins can name the sites."""

    def __init__(self, name: str, args: FrontDoorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:FrontDoor", name, None, opts)
        place = args.place
        profile = cdn.Profile(
            f"{name}-profile",
            profile_name=place.names.of("afd"),
            resource_group_name=place.resource_group,
            location="Global",
            sku=cdn.SkuArgs(name=f"{args.tier}_AzureFrontDoor"),
            origin_response_timeout_seconds=RESPONSE_SECONDS,
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        diagnostics(self, f"{name}-diagnostics", profile.id, args.workspace_id)
        self.id = profile.id
        self.profile_name = profile.name
        self.front_door_id = profile.front_door_id
        self.register_outputs({"id": self.id, "front_door_id": self.front_door_id})


@dataclass(frozen=True, kw_only=True)
class Origin:
    """`host`: default host of a site. A higher `priority` gets traffic when all of the lower are ill.

    `state`: whether it is in rotation, see components/azure/origins.py. `site` outlives the origin.
    """

    host: str
    site: pulumi.Resource | None = None
    priority: int = 1
    state: str = ENABLED


@dataclass(frozen=True, kw_only=True)
class EdgeProbe:
    """What Front Door asks of each origin, from each of its locations."""

    path: str
    interval_seconds: int = 30


@dataclass(frozen=True, kw_only=True)
class EdgeArgs:
    """`origins`: instance → its site. `rate_limit`: requests a minute of one client before it is refused.

    `verify_value`: what the verify header must be. Raises `TargetError` for more instances than a profile
    has endpoints.
    """

    place: Place
    tier: FrontDoorTier
    profile_name: pulumi.Input[str]
    origins: Mapping[str, Origin]
    probe: EdgeProbe
    rate_limit: int
    verify_value: pulumi.Input[str]
    custom_domain: str | None = None

    def __post_init__(self) -> None:
        check_endpoints(self.tier, instances=len(self.origins))


class Edge(pulumi.ComponentResource):
    """One public address over all instances, and one of its own for each instance, closed to strangers.

    - The sites are asked by their own host name, since App Service knows no other; the project finds the
      public one in X-Forwarded-Host.
    - Static files are cached at the edge, the rest never. They come from the instances as well.
    - No address is served before its firewall policy is on: the routes depend on the security policies.
    - The managed certificate is issued once the `validation` record is in DNS ("Configure HTTPS on a custom
      domain"). With a domain of one's own, Front Door's name is no second way in.
    """

    def __init__(self, name: str, args: EdgeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("relevo:azure:Edge", name, None, opts)
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)

        domain = self._domain(args.custom_domain) if args.custom_domain else None
        endpoint = self._public(domain)
        verify = self._verify()

        self.verify_hosts = {instance: made.host_name for instance, made in verify.items()}
        self.endpoint_host = endpoint.host_name  # Front Door's own name for the public address
        self.host: pulumi.Output[str] = (
            pulumi.Output.from_input(args.custom_domain) if args.custom_domain else self.endpoint_host
        )
        self.url = pulumi.Output.concat("https://", self.host)
        # What must be in DNS before the certificate is issued; None without a domain of one's own.
        self.validation = (
            None
            if domain is None
            else pulumi.Output.all(
                token=domain.validation_properties.apply(lambda found: found.validation_token),
                host=endpoint.host_name,
            ).apply(
                lambda known: {
                    f"_dnsauth.{args.custom_domain}": f"TXT {known['token']}",
                    f"{args.custom_domain}": f"CNAME {known['host']}",
                }
            )
        )
        self.register_outputs({"url": self.url, "verify_hosts": self.verify_hosts})

    # -- the public address ----------------------------------------------------------------------------
    def _public(self, domain: cdn.AFDCustomDomain | None) -> cdn.AFDEndpoint:
        args = self._args
        endpoint = self._endpoint("public")
        policy = self._firewall("waf", _public_rules(args.rate_limit), managed=args.tier == "Premium")
        protected = self._attach("public", policy, [endpoint, *([domain] if domain else [])])
        group = self._group(
            GROUP,
            cdn.HealthProbeParametersArgs(
                probe_path=args.probe.path,
                probe_protocol=cdn.ProbeProtocol.HTTPS,
                probe_request_type=cdn.HealthProbeRequestType.GET,
                probe_interval_in_seconds=args.probe.interval_seconds,
            ),
        )
        origins = [
            # What a roll has drained stays out, also when a killed `up` is followed by another. The steps
            # come after all of this component, so no change of an origin here meets a roll.
            self._origin(f"origin-{instance}", group, instance, origin, origin.state)
            for instance, origin in args.origins.items()
        ]
        for route, pattern, cache in (("app", "/*", None), ("static", "/static/*", _static_cache())):
            cdn.Route(
                f"{self.pulumi_resource_name}-route-{route}",
                route_name=route,
                endpoint_name=endpoint.name,
                profile_name=args.profile_name,
                resource_group_name=args.place.resource_group,
                origin_group=cdn.ResourceReferenceArgs(id=group.id),
                patterns_to_match=[pattern],
                supported_protocols=[cdn.AFDEndpointProtocols.HTTP, cdn.AFDEndpointProtocols.HTTPS],
                https_redirect=cdn.HttpsRedirect.ENABLED,
                forwarding_protocol=cdn.ForwardingProtocol.HTTPS_ONLY,
                cache_configuration=cache,
                custom_domains=[cdn.ActivatedResourceReferenceArgs(id=domain.id)] if domain else [],
                link_to_default_domain=(
                    cdn.LinkToDefaultDomain.DISABLED if domain else cdn.LinkToDefaultDomain.ENABLED
                ),
                enabled_state=cdn.EnabledState.ENABLED,
                # ARM refuses a route to a group without origins.
                opts=pulumi.ResourceOptions(parent=self, depends_on=[*origins, protected]),
            )
        return endpoint

    def _domain(self, host: str) -> cdn.AFDCustomDomain:
        return cdn.AFDCustomDomain(
            f"{self.pulumi_resource_name}-domain",
            custom_domain_name=host.replace(".", "-"),
            host_name=host,
            profile_name=self._args.profile_name,
            resource_group_name=self._args.place.resource_group,
            tls_settings=cdn.AFDDomainHttpsParametersArgs(
                certificate_type=cdn.AfdCertificateType.MANAGED_CERTIFICATE,
                minimum_tls_version=cdn.AfdMinimumTlsVersion.TLS12,
                cipher_suite_set_type=cdn.AfdCipherSuiteSetType.TLS12_2023,
            ),
            opts=self._child,
        )

    # -- an address for each instance ------------------------------------------------------------------
    def _verify(self) -> dict[str, cdn.AFDEndpoint]:
        """For the gate and the proof that no split version is left; also while it is out of rotation."""
        args = self._args
        endpoints = {instance: self._endpoint("verify", instance) for instance in args.origins}
        policy = self._firewall("waf-verify", _verify_rules(args.verify_value), scrub=VERIFY_HEADER)
        protected = self._attach("verify", policy, [*endpoints.values()])
        rules, without_header = self._without_header()
        for instance, origin in args.origins.items():
            group = self._group(f"verify-{instance}", None)
            made = self._origin(f"verify-origin-{instance}", group, instance, origin)
            cdn.Route(
                f"{self.pulumi_resource_name}-verify-route-{instance}",
                route_name="verify",
                endpoint_name=endpoints[instance].name,
                profile_name=args.profile_name,
                resource_group_name=args.place.resource_group,
                origin_group=cdn.ResourceReferenceArgs(id=group.id),
                patterns_to_match=["/*"],
                supported_protocols=[cdn.AFDEndpointProtocols.HTTPS],
                https_redirect=cdn.HttpsRedirect.DISABLED,
                forwarding_protocol=cdn.ForwardingProtocol.HTTPS_ONLY,
                rule_sets=[cdn.ResourceReferenceArgs(id=rules.id)],
                link_to_default_domain=cdn.LinkToDefaultDomain.ENABLED,
                enabled_state=cdn.EnabledState.ENABLED,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[made, protected, without_header]),
            )
        return endpoints

    def _without_header(self) -> tuple[cdn.RuleSet, cdn.Rule]:
        """After the firewall has read it, the header is dropped: no log of the project shall have it."""
        args = self._args
        rules = cdn.RuleSet(
            f"{self.pulumi_resource_name}-verify-rules",
            rule_set_name="verify",
            profile_name=args.profile_name,
            resource_group_name=args.place.resource_group,
            opts=self._child,
        )
        rule = cdn.Rule(
            f"{self.pulumi_resource_name}-verify-rule",
            rule_name="withoutHeader",
            rule_set_name=rules.name,
            profile_name=args.profile_name,
            resource_group_name=args.place.resource_group,
            order=1,
            conditions=[],
            actions=[
                cdn.DeliveryRuleRequestHeaderActionArgs(
                    name="ModifyRequestHeader",
                    parameters=cdn.HeaderActionParametersArgs(
                        type_name="DeliveryRuleHeaderActionParameters",
                        header_action=cdn.HeaderAction.DELETE,
                        header_name=VERIFY_HEADER,
                    ),
                )
            ],
            match_processing_behavior=cdn.MatchProcessingBehavior.CONTINUE_,
            opts=self._child,
        )
        return rules, rule

    # -- parts of both ---------------------------------------------------------------------------------
    def _endpoint(self, *parts: str) -> cdn.AFDEndpoint:
        place = self._args.place
        return cdn.AFDEndpoint(
            f"{self.pulumi_resource_name}-{'-'.join(parts)}",
            endpoint_name=place.names.of("fde", *parts),
            profile_name=self._args.profile_name,
            resource_group_name=place.resource_group,
            location="Global",
            # The same name gets the same host again in this tenant, and in no other ("Endpoints in Azure
            # Front Door"): a DNS record that is left behind cannot be taken over.
            auto_generated_domain_name_label_scope=cdn.AutoGeneratedDomainNameLabelScope.TENANT_REUSE,
            enabled_state=cdn.EnabledState.ENABLED,
            tags=place.tags,
            opts=self._child,
        )

    def _group(self, group: str, probe: cdn.HealthProbeParametersArgs | None) -> cdn.AFDOriginGroup:
        return cdn.AFDOriginGroup(
            f"{self.pulumi_resource_name}-group-{group}",
            origin_group_name=group,
            profile_name=self._args.profile_name,
            resource_group_name=self._args.place.resource_group,
            health_probe_settings=probe,
            load_balancing_settings=cdn.LoadBalancingSettingsParametersArgs(
                sample_size=4, successful_samples_required=3, additional_latency_in_milliseconds=50
            ),
            session_affinity_state=cdn.EnabledState.DISABLED,
            opts=self._child,
        )

    def _origin(
        self,
        name: str,
        group: cdn.AFDOriginGroup,
        instance: str,
        origin: Origin,
        state: str = ENABLED,
    ) -> cdn.AFDOrigin:
        return cdn.AFDOrigin(
            f"{self.pulumi_resource_name}-{name}",
            origin_name=instance,
            origin_group_name=group.name,
            profile_name=self._args.profile_name,
            resource_group_name=self._args.place.resource_group,
            host_name=origin.host,
            origin_host_header=origin.host,
            http_port=80,
            https_port=443,
            priority=origin.priority,
            weight=1000,
            enforce_certificate_name_check=True,
            enabled_state=state,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[origin.site] if origin.site else []),
        )

    def _firewall(
        self,
        name: str,
        rules: Sequence[frontdoor.CustomRuleArgs],
        *,
        managed: bool = False,
        scrub: str | None = None,
    ) -> frontdoor.Policy:
        """`scrub`: a header whose value is hidden in the firewall's log."""
        place = self._args.place
        _, *parts = name.split("-")
        return frontdoor.Policy(
            f"{self.pulumi_resource_name}-{name}",
            policy_name=place.names.of("waf", *parts),
            resource_group_name=place.resource_group,
            location="Global",
            sku=frontdoor.SkuArgs(name=f"{self._args.tier}_AzureFrontDoor"),
            policy_settings=frontdoor.PolicySettingsArgs(
                enabled_state=frontdoor.PolicyEnabledState.ENABLED,
                mode=frontdoor.PolicyMode.PREVENTION,
                request_body_check=frontdoor.PolicyRequestBodyCheck.ENABLED,
                custom_block_response_status_code=403,
                state=frontdoor.WebApplicationFirewallScrubbingState.ENABLED if scrub else None,
                scrubbing_rules=[
                    frontdoor.WebApplicationFirewallScrubbingRulesArgs(
                        match_variable=frontdoor.ScrubbingRuleEntryMatchVariable.REQUEST_HEADER_NAMES,
                        selector_match_operator=frontdoor.ScrubbingRuleEntryMatchOperator.EQUALS,
                        selector=scrub,
                        state=frontdoor.ScrubbingRuleEntryState.ENABLED,
                    )
                ]
                if scrub
                else None,
            ),
            custom_rules=frontdoor.CustomRuleListArgs(rules=rules),
            managed_rules=frontdoor.ManagedRuleSetListArgs(
                managed_rule_sets=[
                    frontdoor.ManagedRuleSetArgs(
                        rule_set_type=kind,
                        rule_set_version=version,
                        rule_set_action=frontdoor.ManagedRuleSetActionType.BLOCK,
                    )
                    for kind, version in MANAGED_RULES.items()
                ]
            )
            if managed
            else None,
            tags=place.tags,
            opts=self._child,
        )

    def _attach(
        self,
        name: str,
        policy: frontdoor.Policy,
        domains: Sequence[cdn.AFDEndpoint | cdn.AFDCustomDomain],
    ) -> cdn.SecurityPolicy:
        return cdn.SecurityPolicy(
            f"{self.pulumi_resource_name}-protect-{name}",
            security_policy_name=name,
            profile_name=self._args.profile_name,
            resource_group_name=self._args.place.resource_group,
            parameters=cdn.SecurityPolicyWebApplicationFirewallParametersArgs(
                type="WebApplicationFirewall",
                waf_policy=cdn.ResourceReferenceArgs(id=policy.id),
                associations=[
                    cdn.SecurityPolicyWebApplicationFirewallAssociationArgs(
                        domains=[cdn.ActivatedResourceReferenceArgs(id=domain.id) for domain in domains],
                        patterns_to_match=["/*"],
                    )
                ],
            ),
            opts=self._child,
        )


def _public_rules(rate_limit: int) -> list[frontdoor.CustomRuleArgs]:
    return [
        frontdoor.CustomRuleArgs(
            name="RateLimit",
            priority=100,
            rule_type=frontdoor.RuleType.RATE_LIMIT_RULE,
            rate_limit_duration_in_minutes=1,
            rate_limit_threshold=rate_limit,
            match_conditions=[_every_request()],
            action=frontdoor.ActionType.BLOCK,
            enabled_state=frontdoor.CustomRuleEnabledState.ENABLED,
        )
    ]


def _verify_rules(value: pulumi.Input[str]) -> list[frontdoor.CustomRuleArgs]:
    """Whoever has the value may pass, and nobody else.

    Not one rule that blocks what is not equal: whether such a rule meets a request without the header is
    not documented.
    """
    return [
        frontdoor.CustomRuleArgs(
            name="AllowVerified",
            priority=1,
            rule_type=frontdoor.RuleType.MATCH_RULE,
            match_conditions=[
                frontdoor.MatchConditionArgs(
                    match_variable=frontdoor.MatchVariable.REQUEST_HEADER,
                    selector=VERIFY_HEADER,
                    operator=frontdoor.Operator.EQUAL,
                    match_value=[pulumi.Output.secret(value)],
                )
            ],
            action=frontdoor.ActionType.ALLOW,
            enabled_state=frontdoor.CustomRuleEnabledState.ENABLED,
        ),
        frontdoor.CustomRuleArgs(
            name="BlockOthers",
            priority=2,
            rule_type=frontdoor.RuleType.MATCH_RULE,
            match_conditions=[_every_request()],
            action=frontdoor.ActionType.BLOCK,
            enabled_state=frontdoor.CustomRuleEnabledState.ENABLED,
        ),
    ]


def _every_request() -> frontdoor.MatchConditionArgs:
    return frontdoor.MatchConditionArgs(
        match_variable=frontdoor.MatchVariable.REQUEST_URI,
        operator=frontdoor.Operator.CONTAINS,
        match_value=["/"],
    )


def _static_cache() -> cdn.AfdRouteCacheConfigurationArgs:
    return cdn.AfdRouteCacheConfigurationArgs(
        query_string_caching_behavior=cdn.AfdQueryStringCachingBehavior.IGNORE_QUERY_STRING,
        compression_settings=cdn.CompressionSettingsArgs(
            is_compression_enabled=True, content_types_to_compress=list(COMPRESSED)
        ),
    )
