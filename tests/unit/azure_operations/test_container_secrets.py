"""What a job and a container app know of the vault: names in their templates, values as they begin."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.azure import container_secrets, run, start
from components.azure.container_secrets import with_secrets
from components.azure.environment import Reference
from components.azure.login import PATIENCE
from components.azure.marker import ended
from components.target import TargetError
from tests.azure.arm_stand_in import ArmStandIn
from tests.azure.identity_stand_in import IdentityStandIn

VAULT = "https://kv-assets-test.vault.azure.net"
CLIENT = "of-jobs"
KEY = "k" * 32
VALUE = "value-of-secret-key"


def reference(name: str) -> str:
    return Reference(name).within(VAULT)


@pytest.fixture
def identity(azure: ArmStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityStandIn]:
    """No other credential is at hand, and little time passes between two tries."""
    for name in ("AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
    monkeypatch.setattr(container_secrets, "PAUSE", 0.05)
    monkeypatch.setitem(PATIENCE, "retry_backoff_factor", 0.01)
    with IdentityStandIn(CLIENT) as identity:
        for name, value in identity.environment().items():
            monkeypatch.setenv(name, value)
        yield identity


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_secrets, "SECONDS", 0.3)


def test_each_reference_becomes_its_value_and_all_else_stays(
    azure: ArmStandIn, identity: IdentityStandIn
) -> None:
    found = with_secrets(
        {
            "AZURE_CLIENT_ID": CLIENT,
            "SECRET_KEY": reference("secret-key"),
            "SIGNING_KEY": reference("secret-key"),
            "DATABASE_URL": reference("database-url-a"),
            "HOST": "assets.example",
            "SAYS": "see @Microsoft.KeyVault(SecretUri=https://x/secrets/y/)",
        }
    )
    assert found == {
        "AZURE_CLIENT_ID": CLIENT,
        "SECRET_KEY": VALUE,
        "SIGNING_KEY": VALUE,
        "DATABASE_URL": "value-of-database-url-a",
        "HOST": "assets.example",
        "SAYS": "see @Microsoft.KeyVault(SecretUri=https://x/secrets/y/)",
    }
    assert set(identity.asked) == {"https://vault.azure.net"}
    # An answer to the first request without a token says whose the vault is.
    assert len(azure.asked(r"GET .*/secrets/secret-key")) <= 2


def test_without_a_reference_nobody_is_asked(azure: ArmStandIn, identity: IdentityStandIn) -> None:
    assert with_secrets({"HOST": "assets.example"}) == {"HOST": "assets.example"}
    assert (identity.asked, azure.requests) == ([], [])


def test_an_identity_that_answers_later_than_the_container_begins_is_waited_for(
    azure: ArmStandIn, identity: IdentityStandIn
) -> None:
    """As is reported of jobs (microsoft/azure-container-apps#864)."""
    identity.cold = 3
    found = with_secrets({"AZURE_CLIENT_ID": CLIENT, "SECRET_KEY": reference("secret-key")})
    assert found["SECRET_KEY"] == VALUE


def test_a_role_that_was_just_given_is_waited_for(azure: ArmStandIn, identity: IdentityStandIn) -> None:
    azure.fail("GET", "/secrets/secret-key", status=403, code="Forbidden", times=2)
    found = with_secrets({"AZURE_CLIENT_ID": CLIENT, "SECRET_KEY": reference("secret-key")})
    assert found["SECRET_KEY"] == VALUE


@pytest.mark.usefixtures("impatient")
def test_a_fault_is_one_line_with_its_remedy(
    azure: ArmStandIn, identity: IdentityStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(name: str) -> str:
        with pytest.raises(TargetError) as caught:
            with_secrets({"AZURE_CLIENT_ID": CLIENT, "KEY": reference(name)})
        assert "\n" not in str(caught.value)
        return str(caught.value)

    needs = f"KEY needs the secret {{}} of {VAULT}, but "
    del azure.vault["mail-password"], azure.vault["database-url-a"]
    assert fault("mail-password") == (
        f"{needs.format('mail-password')}the vault has no value of it; "
        "set it with relevo secret set MAIL_PASSWORD."
    )
    assert fault("database-url-a").endswith("the vault has no value of it; run pulumi up, which makes it.")

    azure.fail("GET", "/secrets/secret-key", status=403, code="Forbidden", times=99)
    assert fault("secret-key").startswith(
        f"{needs.format('secret-key')}its identity may not read it (Azure answers 403: "
    )
    azure.reset()
    azure.fail("GET", "/secrets/secret-key", status=400, code="BadParameter", times=9)
    assert "the vault answers 400 (" in fault("secret-key")

    identity.cold = 999
    assert "this container gets no token for its identity (" in fault("secret-key")
    identity.cold = 0
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    assert "the vault does not answer (ServiceRequestError: " in fault("secret-key")


def test_a_job_has_its_secrets_in_the_environment_of_its_command_and_nowhere_else(
    azure: ArmStandIn,
    identity: IdentityStandIn,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.setenv("SECRET_KEY", reference("secret-key"))
    program = "import os; print(os.environ['SECRET_KEY'][::-1])"
    assert run.execute([sys.executable, "-c", program], key=KEY, log=run.Log(None)) == 0
    output = capfdbinary.readouterr().out.decode()
    assert output.splitlines()[0] == VALUE[::-1]
    assert VALUE not in output
    assert os.environ["SECRET_KEY"] == reference("secret-key")


@pytest.mark.usefixtures("impatient")
def test_a_job_without_its_secret_ends_with_the_reason_and_runs_nothing(
    azure: ArmStandIn,
    identity: IdentityStandIn,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    tmp_path: Path,
) -> None:
    del azure.vault["secret-key"]
    monkeypatch.setenv("SECRET_KEY", reference("secret-key"))
    assert run.execute(["/bin/touch", str(tmp_path / "ran")], key=KEY, log=run.Log(None)) == 1
    reason, mark = capfdbinary.readouterr().out.decode().splitlines()
    assert reason.startswith("SECRET_KEY needs the secret secret-key of ")
    found = ended([mark], KEY)
    assert found is not None
    assert found.status == 1
    assert list(tmp_path.iterdir()) == []


def test_a_container_app_begins_with_the_values_of_its_references(
    azure: ArmStandIn, identity: IdentityStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RELEASE_ID", "IMAGE", "VERSION", "INSTANCE", "START"):
        monkeypatch.setenv(f"RELEVO_{name}", "x")
    monkeypatch.setenv("CONTAINER_APP_REPLICA_NAME", "worker-1")
    monkeypatch.setenv("SECRET_KEY", reference("secret-key"))
    began: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execvpe", lambda *how: began.append(how))
    start.main(["worker", "--", "/app/.venv/bin/celery", "worker"])
    ((program, argv, environment),) = began
    assert (program, argv) == ("/app/.venv/bin/celery", ["/app/.venv/bin/celery", "worker"])
    assert environment["SECRET_KEY"] == VALUE
