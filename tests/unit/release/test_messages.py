"""Every event has its sentences, in both languages, for both who operates a stack and who does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import astuple
from string import Formatter
from typing import Any

import pytest

from components.release import notices
from components.release.audiences import EVERYTHING, WANTED, Language, News
from components.release.context import Context
from components.release.messages import PHRASES, TEMPLATES, Template
from components.release.record import Release
from tests.unit.release.conftest import opened, released
from tests.unit.release.stand_in import StandInOperations

# What `notices.tell` is given besides the release.
GIVEN: dict[str, dict[str, Any]] = {
    "recovery-failed": {"target": "v1", "error": "E77"},
    "watch-breached": {"measure": "errors-5xx", "found": "4.8 %", "before": "0.1 %"},
    "review-bad": {"volume": "loans", "found": "70", "expected": "100"},
    "restored": {"backup": "b1"},
    "restore-failed": {"backup": None, "error": "E77"},
    "drill-failed": {"backup": "b1", "error": "E77"},
}
OF_NO_RELEASE = ("restored", "restore-failed", "drill-failed")
# Words that are in one language only; of the other language none may be in a message.
WORDS = {
    "en": re.compile(r"\b(the|release|of|with|next|is|it|serves|by|on)\b", re.IGNORECASE),
    "es": re.compile(r"\b(el|la|despliegue|de|con|siguiente|es|servicio|por|en)\b", re.IGNORECASE),
}
COMMANDS = re.compile(r"pulumi up( --stack local)?|relevo \w+( --stack local)?")  # alike in both


def fields(template: Template) -> set[str]:
    title, body, *rest = astuple(template)
    return {name for text in (title, *body, *rest) for _, name, _, _ in Formatter().parse(text) if name}


def releases(operations: StandInOperations) -> Iterator[tuple[Context, Release]]:
    """One that has succeeded, one that has failed, and a rollback that has succeeded and one that has not."""
    yield released(operations, "v1")
    yield released(operations, "v2")
    made, release = opened(operations, "v3")
    made.write("step failed", release.id, step="check", error="E77")
    made.write("release failed", release.id)
    yield made, made.current()
    made, release = opened(operations, "v1")
    made.write("step failed", release.id, step="check", error="E77")
    made.write("release failed", release.id)
    yield made, made.current()
    made.write("release succeeded", release.id)
    yield made, made.current()


def test_both_languages_have_the_same_messages_made_of_the_same_facts() -> None:
    english, spanish = TEMPLATES["en"], TEMPLATES["es"]
    assert english.keys() == spanish.keys() == {*EVERYTHING, "failed-way-back"}
    for name, template in english.items():
        assert fields(template) == fields(spanish[name]), name
    assert PHRASES["en"].keys() == PHRASES["es"].keys()


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("news", EVERYTHING)
def test_every_message_is_whole_and_in_one_language(
    operations: StandInOperations, news: News, language: Language
) -> None:
    other = WORDS["es" if language == "en" else "en"]
    verdict = {"failed": "failed", "recovery-failed": "failed"}.get(news, "succeeded")
    for made, release in releases(operations):
        if release.verdict != verdict:
            continue
        for operates in (True, False):
            about = None if news in OF_NO_RELEASE else release
            told = notices.text(
                made, news, about, language=language, operates=operates, **GIVEN.get(news, {})
            )
            said = f"{told.title}. {told.paragraph}"
            assert WORDS[language].search(said)
            assert not other.search(COMMANDS.sub("", said)), said
            assert not re.search(r"[{}]|None|\.\.|  | [.,;:]|\?", said), said
            assert told.paragraph.endswith((".", "»"))
            assert "Ada" in told.paragraph, "who is responsible is always said"
            assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", told.paragraph) or not operates or about
            if not operates:
                assert "E77" not in said


def test_a_success_in_spanish(operations: StandInOperations) -> None:
    """The deployment plan's "Notificar al equipo funcional": version tag, date, responsible."""
    released(operations, "v1")
    made, release = released(operations, "v2")
    told = notices.text(made, "done", release, language="es", operates=False)
    date = notices.text(made, "review-due", release).paragraph  # proves that a release knows its dates
    assert "is due on " in date
    assert told.title == "Despliegue de v2 completado"
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "FECHA", told.paragraph).replace(release.id, "ID") == (
        "El despliegue ID de v2 en el entorno local se completó el FECHA en 0 s; responsable: Ada. "
        "Sustituye a v1. v2 está en servicio en http://site.example. "
        "Siguiente paso: comprobar que el trabajo habitual sigue funcionando con normalidad y comunicar "
        "cualquier anomalía a Ada."
    )


def test_a_recovery_says_which_version_it_has_left(operations: StandInOperations) -> None:
    released(operations, "v1")
    failed, release = opened(operations, "v2")
    failed.write("release failed", release.id)
    made, recovery = released(operations, "v1")
    assert recovery.kind == "recovery"
    assert (
        "v2 ya no está en servicio." in notices.text(made, "rolled-back", recovery, language="es").sentences
    )


def test_the_plan_says_whom_an_incident_is_for() -> None:
    assert {"done", "rolled-back", "review-due", "review-bad"} <= set(WANTED["functional"])
    assert "failed" not in WANTED["functional"]
    assert {"failed", "rolled-back", "watch-breached"} <= set(WANTED["stakeholders"])
    assert "done" not in WANTED["stakeholders"]
