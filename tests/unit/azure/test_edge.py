"""Front Door: N origins behind one address, an address of its own for each, and a firewall before both."""

from __future__ import annotations

from typing import Any

import pytest

from components.azure.edge import Edge, EdgeArgs, EdgeProbe, FrontDoor, FrontDoorArgs, Origin
from components.azure.sizing import FrontDoorTier
from components.target import TargetError
from tests.unit.azure.stand_in import TAGS, StandInEngine, place

VERIFY = "the value that only the release knows"


def hosts(count: int) -> dict[str, str]:
    return {
        f"instance-{number}": f"app-assets-prod-instance-{number}.azurewebsites.net"
        for number in range(1, count + 1)
    }


@pytest.fixture
def engine() -> StandInEngine:
    engine = StandInEngine()
    engine.outputs = {
        "edge-public": {"hostName": "public.z01.azurefd.net"},
        "edge-domain": {"validationProperties": {"validationToken": "token", "expirationDate": "later"}},
        **{f"edge-verify-{instance}": {"hostName": f"{instance}.z01.azurefd.net"} for instance in hosts(8)},
        "front-door-profile": {"frontDoorId": "33333333-3333-3333-3333-333333333333"},
    }
    return engine


def _edge(count: int = 2, tier: FrontDoorTier = "Standard", **changed: Any) -> Edge:
    given: dict[str, Any] = {
        "place": place(),
        "tier": tier,
        "profile_name": "afd-assets-prod",
        "origins": {instance: Origin(host=host) for instance, host in hosts(count).items()},
        "probe": EdgeProbe(path="/healthz"),
        "rate_limit": 1000,
        "verify_value": VERIFY,
    }
    return Edge("edge", EdgeArgs(**{**given, **changed}))


@pytest.mark.parametrize("tier", ["Standard", "Premium"])
def test_the_profile_is_of_its_tier_and_says_its_id(engine: StandInEngine, tier: FrontDoorTier) -> None:
    front_door = engine.build(
        lambda: FrontDoor("front-door", FrontDoorArgs(place=place(), tier=tier, workspace_id="workspace-id"))
    )

    assert engine.made["front-door-profile"].inputs == {
        "profileName": "afd-assets-prod",
        "resourceGroupName": "rg-assets-prod",
        "location": "Global",
        "sku": {"name": f"{tier}_AzureFrontDoor"},
        "originResponseTimeoutSeconds": 60,
        "tags": TAGS,
    }
    assert engine.made["front-door-diagnostics"].inputs["resourceUri"] == "front-door-profile-id"
    assert engine.value(front_door.front_door_id) == "33333333-3333-3333-3333-333333333333"


@pytest.mark.parametrize("count", range(2, 9))
@pytest.mark.parametrize("tier", ["Standard", "Premium"])
def test_each_instance_is_an_origin_and_has_an_address_of_its_own(
    engine: StandInEngine, count: int, tier: FrontDoorTier
) -> None:
    edge = engine.build(lambda: _edge(count, tier))

    origins = engine.of_type("cdn:AFDOrigin")
    assert origins.keys() == {
        f"edge-{kind}-{instance}" for kind in ("origin", "verify-origin") for instance in hosts(count)
    }
    for instance, host in hosts(count).items():
        origin = origins[f"edge-origin-{instance}"]
        expected = {
            "originName": instance,
            "originGroupName": "edge-group-app-name",
            "profileName": "afd-assets-prod",
            "resourceGroupName": "rg-assets-prod",
            "hostName": host,
            "originHostHeader": host,
            "httpPort": 80,
            "httpsPort": 443,
            "priority": 1,
            "weight": 1000,
            "enforceCertificateNameCheck": True,
            "enabledState": "Enabled",
        }
        assert origin.inputs == expected
        verify = origins[f"edge-verify-origin-{instance}"]
        assert verify.inputs == {**expected, "originGroupName": f"edge-group-verify-{instance}-name"}
        # The roll step's, and nobody's.
        assert origin.ignore_changes == verify.ignore_changes == ()

        route = engine.of_type("cdn:Route")[f"edge-verify-route-{instance}"]
        assert route.inputs["originGroup"] == {"id": f"edge-group-verify-{instance}-id"}
        assert route.inputs["endpointName"] == f"edge-verify-{instance}-name"
        assert route.depends_on >= {f"edge-verify-origin-{instance}", "edge-protect-verify"}
        endpoint = engine.made[f"edge-verify-{instance}"]
        assert endpoint.inputs["endpointName"] == f"fde-assets-prod-verify-{instance}"
        assert engine.value(edge.verify_hosts[instance]) == f"{instance}.z01.azurefd.net"
    assert len(engine.of_type("cdn:AFDEndpoint")) == count + 1
    assert engine.value(edge.url) == "https://public.z01.azurefd.net"


def test_the_groups_probe_only_what_gets_traffic(engine: StandInEngine) -> None:
    engine.build(_edge)

    groups = engine.of_type("cdn:AFDOriginGroup")
    balancing = {"sampleSize": 4, "successfulSamplesRequired": 3, "additionalLatencyInMilliseconds": 50}
    assert groups["edge-group-app"].inputs == {
        "originGroupName": "app",
        "profileName": "afd-assets-prod",
        "resourceGroupName": "rg-assets-prod",
        "healthProbeSettings": {
            "probePath": "/healthz",
            "probeProtocol": "Https",
            "probeRequestType": "GET",
            "probeIntervalInSeconds": 30,
        },
        "loadBalancingSettings": balancing,
        "sessionAffinityState": "Disabled",
    }
    assert "healthProbeSettings" not in groups["edge-group-verify-instance-1"].inputs


def test_the_project_is_never_cached_and_static_files_are(engine: StandInEngine) -> None:
    engine.build(_edge)

    app, static = engine.made["edge-route-app"], engine.made["edge-route-static"]
    expected = {
        "routeName": "app",
        "endpointName": "edge-public-name",
        "profileName": "afd-assets-prod",
        "resourceGroupName": "rg-assets-prod",
        "originGroup": {"id": "edge-group-app-id"},
        "patternsToMatch": ["/*"],
        "supportedProtocols": ["Http", "Https"],
        "httpsRedirect": "Enabled",
        "forwardingProtocol": "HttpsOnly",
        "customDomains": [],
        "linkToDefaultDomain": "Enabled",
        "enabledState": "Enabled",
    }
    assert app.inputs == expected
    cache = static.inputs["cacheConfiguration"]
    assert static.inputs == {
        **expected,
        "routeName": "static",
        "patternsToMatch": ["/static/*"],
        "cacheConfiguration": cache,
    }
    assert cache["queryStringCachingBehavior"] == "IgnoreQueryString"
    assert cache["compressionSettings"]["isCompressionEnabled"] is True
    assert {"text/css", "text/javascript", "image/svg+xml"} <= {
        *cache["compressionSettings"]["contentTypesToCompress"]
    }


def test_no_address_is_served_before_its_firewall_is_on(engine: StandInEngine) -> None:
    engine.build(_edge)

    for name, route in engine.of_type("cdn:Route").items():
        policy = "edge-protect-verify" if "verify" in name else "edge-protect-public"
        assert policy in route.depends_on, name
    verify = engine.made["edge-protect-verify"].inputs["parameters"]
    assert verify == {
        "type": "WebApplicationFirewall",
        "wafPolicy": {"id": "edge-waf-verify-id"},
        "associations": [
            {
                "domains": [{"id": "edge-verify-instance-1-id"}, {"id": "edge-verify-instance-2-id"}],
                "patternsToMatch": ["/*"],
            }
        ],
    }


@pytest.mark.parametrize(
    ("tier", "managed"),
    [
        ("Standard", None),
        (
            "Premium",
            {
                "managedRuleSets": [
                    {
                        "ruleSetType": "Microsoft_DefaultRuleSet",
                        "ruleSetVersion": "2.2",
                        "ruleSetAction": "Block",
                    },
                    {
                        "ruleSetType": "Microsoft_BotManagerRuleSet",
                        "ruleSetVersion": "1.1",
                        "ruleSetAction": "Block",
                    },
                ]
            },
        ),
    ],
)
def test_the_firewall_prevents_and_has_what_its_tier_offers(
    engine: StandInEngine, tier: FrontDoorTier, managed: Any
) -> None:
    engine.build(lambda: _edge(tier=tier))

    policy = engine.made["edge-waf"]
    assert policy.type == "azure-native:frontdoor:Policy"
    assert policy.inputs == {
        "policyName": "wafassetsprod",
        "resourceGroupName": "rg-assets-prod",
        "location": "Global",
        "sku": {"name": f"{tier}_AzureFrontDoor"},
        "policySettings": {
            "enabledState": "Enabled",
            "mode": "Prevention",
            "requestBodyCheck": "Enabled",
            "customBlockResponseStatusCode": 403,
        },
        "customRules": {
            "rules": [
                {
                    "name": "RateLimit",
                    "priority": 100,
                    "ruleType": "RateLimitRule",
                    "rateLimitDurationInMinutes": 1,
                    "rateLimitThreshold": 1000,
                    "matchConditions": [
                        {"matchVariable": "RequestUri", "operator": "Contains", "matchValue": ["/"]}
                    ],
                    "action": "Block",
                    "enabledState": "Enabled",
                }
            ]
        },
        **({"managedRules": managed} if managed else {}),
        "tags": TAGS,
    }


def test_an_instance_is_reached_by_who_knows_the_value_and_nobody_else(engine: StandInEngine) -> None:
    engine.build(_edge)

    allow, block = engine.plain("edge-waf-verify")["customRules"]["rules"]
    assert (allow["priority"], allow["action"]) == (1, "Allow")
    assert allow["matchConditions"] == [
        {
            "matchVariable": "RequestHeader",
            "selector": "X-Relevo-Verify",
            "operator": "Equal",
            "matchValue": [VERIFY],
        }
    ]
    assert (block["priority"], block["action"]) == (2, "Block")
    assert block["matchConditions"] == [
        {"matchVariable": "RequestUri", "operator": "Contains", "matchValue": ["/"]}
    ]


def test_the_value_is_in_no_log_and_in_no_state(engine: StandInEngine) -> None:
    engine.build(_edge)

    policy = engine.made["edge-waf-verify"]
    assert "customRules" in policy.secret
    assert policy.inputs["policySettings"]["state"] == "Enabled"
    assert policy.inputs["policySettings"]["scrubbingRules"] == [
        {
            "matchVariable": "RequestHeaderNames",
            "selectorMatchOperator": "Equals",
            "selector": "X-Relevo-Verify",
            "state": "Enabled",
        }
    ]
    # The project does not get it.
    rule = engine.made["edge-verify-rule"]
    assert rule.inputs["actions"] == [
        {
            "name": "ModifyRequestHeader",
            "parameters": {
                "typeName": "DeliveryRuleHeaderActionParameters",
                "headerAction": "Delete",
                "headerName": "X-Relevo-Verify",
            },
        }
    ]
    for instance in hosts(2):
        route = engine.made[f"edge-verify-route-{instance}"]
        assert route.inputs["ruleSets"] == [{"id": "edge-verify-rules-id"}]
        assert "edge-verify-rule" in route.depends_on


def test_with_a_domain_of_ones_own_front_doors_name_is_no_second_way_in(engine: StandInEngine) -> None:
    edge = engine.build(lambda: _edge(custom_domain="assets.example.org"))

    assert engine.made["edge-domain"].inputs == {
        "customDomainName": "assets-example-org",
        "hostName": "assets.example.org",
        "profileName": "afd-assets-prod",
        "resourceGroupName": "rg-assets-prod",
        "tlsSettings": {
            "certificateType": "ManagedCertificate",
            "minimumTlsVersion": "TLS12",
            "cipherSuiteSetType": "TLS12_2023",
        },
    }
    for route in ("edge-route-app", "edge-route-static"):
        assert engine.made[route].inputs["customDomains"] == [{"id": "edge-domain-id"}]
        assert engine.made[route].inputs["linkToDefaultDomain"] == "Disabled"
    domains = engine.made["edge-protect-public"].inputs["parameters"]["associations"][0]["domains"]
    assert domains == [{"id": "edge-public-id"}, {"id": "edge-domain-id"}]
    assert engine.value(edge.url) == "https://assets.example.org"
    assert edge.validation is not None
    assert engine.value(edge.validation) == {
        "_dnsauth.assets.example.org": "TXT token",
        "assets.example.org": "CNAME public.z01.azurefd.net",
    }


def test_a_second_region_can_stand_by(engine: StandInEngine) -> None:
    first, second = hosts(2).values()
    engine.build(
        lambda: _edge(
            origins={
                "instance-1": Origin(host=first),
                "instance-2": Origin(host=second, priority=2, state="Disabled"),
            }
        )
    )

    assert engine.made["edge-origin-instance-1"].inputs["priority"] == 1
    assert engine.made["edge-origin-instance-2"].inputs["priority"] == 2
    assert engine.made["edge-origin-instance-2"].inputs["enabledState"] == "Disabled"
    assert engine.made["edge-verify-origin-instance-2"].inputs["enabledState"] == "Enabled"


def test_more_instances_than_endpoints_are_refused_before_anything_is_made() -> None:
    many = {f"instance-{number}": Origin(host="host") for number in range(1, 11)}
    with pytest.raises(
        TargetError, match=r"^relevo:instances is 10, but Front Door Standard has endpoints for 9"
    ):
        _edge(origins=many)
    EdgeArgs(
        place=place(),
        tier="Premium",
        profile_name="afd",
        origins=many,
        probe=EdgeProbe(path="/"),
        rate_limit=1000,
        verify_value=VERIFY,
    )
