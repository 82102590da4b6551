"""The sentences of every notification, in English and Spanish: data, and how it becomes a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.release.audiences import Language, News


@dataclass(frozen=True, kw_only=True)
class Template:
    """Sentences with {facts}; one that comes out empty is left out.

    `detail` and `next` are for who operates the stack, `asked` stands in their place for everybody else: the
    program's own error lines are in English, and commands are of no use to them.
    """

    title: str
    body: tuple[str, ...]
    detail: str = ""
    next: str
    asked: str


@dataclass(frozen=True, kw_only=True)
class Message:
    title: str
    sentences: tuple[str, ...]

    @property
    def paragraph(self) -> str:
        return " ".join(self.sentences)


def message(news: News | str, language: str, facts: Mapping[str, str], *, operates: bool) -> Message:
    """Of the template named `news`. Raises `KeyError` for a fact that it needs and is not there."""
    template = TEMPLATES[language][news]
    ending = (template.detail, template.next) if operates else (template.asked,)
    sentences = [sentence.format_map(facts) for sentence in (*template.body, *ending)]
    return Message(
        title=template.title.format_map(facts), sentences=tuple(filter(None, map(str.strip, sentences)))
    )


# Of a release there are {id}, {version}, {stack}, {responsible}, {date} and the phrases below.
ENGLISH: Mapping[str, Template] = {
    "started": Template(
        title="Release of {version} has started",
        body=(
            "Release {id} of {version} on stack {stack} was started on {date} by {responsible}.",
            "{origin}",
            "{serves}",
        ),
        next="Nothing needs to be done for now.",
        asked="Nothing needs to be done for now.",
    ),
    "done": Template(
        title="Release of {version} succeeded",
        body=(
            "Release {id} of {version} on stack {stack}, by {responsible}, succeeded on {date} in {took}.",
            "{origin}",
            "{version} serves at {url}.",
            "{rewound}",
        ),
        detail="Logbook head: {head}.",
        next="Next: {watch}review it on {review_due}.",
        asked="Next: check that your usual work goes on as before, and report anything unusual to "
        "{responsible}.",
    ),
    "rolled-back": Template(
        title="Rollback to {version} succeeded",
        body=(
            "Rollback {id} to {version} on stack {stack}, by {responsible}, succeeded on {date} in {took}.",
            "{left}",
            "{version} serves at {url}.",
            "{rewound}",
        ),
        detail="Logbook head: {head}.",
        next="Next: {watch}review it on {review_due}.",
        asked="Next: check that your usual work goes on as before, and report anything unusual to "
        "{responsible}.",
    ),
    "failed": Template(
        title="Release of {version} failed",
        body=(
            "Release {id} of {version} on stack {stack}, by {responsible}, failed on {date}.",
            "{serves}",
            "{rewound}",
        ),
        detail="It failed in step {step}: {error}",
        next="Next: correct the fault and run pulumi up{way_out}.",
        asked="For questions, contact {responsible}.",
    ),
    "failed-way-back": Template(
        title="Rollback to {version} failed",
        body=(
            "Rollback {id} to {version} on stack {stack}, by {responsible}, failed on {date}.",
            "{serves}",
            "{rewound}",
        ),
        detail="It failed in step {step}: {error}",
        next="Next: correct the fault and run pulumi up{way_out}.",
        asked="For questions, contact {responsible}.",
    ),
    "watch-breached": Template(
        title="{version} does not run as well as before",
        body=(
            "The watch over release {id} of {version} on stack {stack}, by {responsible}, found on {date} "
            "that {measure} is {found}; before the release it was {before}.",
            "{serves}",
        ),
        next="Next: look at its log; if the release is the cause{or_back}.",
        asked="For questions, contact {responsible}.",
    ),
    "review-due": Template(
        title="The review of {version} is due",
        body=(
            "The review of release {id} of {version} on stack {stack}, by {responsible}, is due on "
            "{review_due}.",
            "{serves}",
        ),
        next="Next: check that the volumes of data are stable.",
        asked="Next: check that the volumes of data are stable, and report anything unusual to "
        "{responsible}.",
    ),
    "review-bad": Template(
        title="Review of {version}: the volume of {volume} is not stable",
        body=(
            "The review of release {id} of {version} on stack {stack}, by {responsible}, found on {date} "
            "that the volume of {volume} is {found}, where {expected} was to be expected.",
            "{serves}",
        ),
        next="Next: find out why; if the release is the cause{or_back}.",
        asked="Next: tell {responsible} whether there is a reason for it in your work.",
    ),
    "recovery-failed": Template(
        title="{stack} could not come back by itself",
        body=(
            "Release {id} of {version} on stack {stack}, by {responsible}, failed, and on {date} the stack "
            "could not come back to {target} by itself.",
            "{serves}",
        ),
        detail="{error}",
        next="Next: somebody has to act; what serves goes on serving.",
        asked="Somebody has to act: contact {responsible}.",
    ),
    "restored": Template(
        title="Data of {stack} restored",
        body=(
            "The database and media of stack {stack} were replaced with {source} on {date} by {responsible}.",
        ),
        next="Next: run pulumi up --stack {stack}, so that the artefact that belongs to these data serves.",
        asked="Next: check your latest entries, since what was written in the meantime may be missing; "
        "report what is to {responsible}.",
    ),
    "restore-failed": Template(
        title="Restoring data of {stack} failed",
        body=(
            "Replacing the database and media of stack {stack} with {source} failed on {date}; {responsible} "
            "had started it.",
        ),
        detail="The fault was: {error}",
        next="Next: correct the fault and run relevo restore --stack {stack} again, which first completes a "
        "switch that was interrupted.",
        asked="For questions, contact {responsible}.",
    ),
    "drill-failed": Template(
        title="Backup {backup} could not be restored for practice",
        body=("The drill with backup {backup} of stack {stack}, by {responsible}, failed on {date}.",),
        detail="The fault was: {error}",
        next="Next: take a backup with relevo backup --stack {stack}, and try it with relevo drill.",
        asked="What serves is not affected; for questions, contact {responsible}.",
    ),
}

SPANISH: Mapping[str, Template] = {
    "started": Template(
        title="Ha comenzado el despliegue de {version}",
        body=(
            "El despliegue {id} de {version} en el entorno {stack} comenzó el {date}; responsable: "
            "{responsible}.",
            "{origin}",
            "{serves}",
        ),
        next="Por ahora no hay que hacer nada.",
        asked="Por ahora no hay que hacer nada.",
    ),
    "done": Template(
        title="Despliegue de {version} completado",
        body=(
            "El despliegue {id} de {version} en el entorno {stack} se completó el {date} en {took}; "
            "responsable: {responsible}.",
            "{origin}",
            "{version} está en servicio en {url}.",
            "{rewound}",
        ),
        detail="Último eslabón de la bitácora: {head}.",
        next="Siguiente paso: {watch}hacer la revisión el {review_due}.",
        asked="Siguiente paso: comprobar que el trabajo habitual sigue funcionando con normalidad y "
        "comunicar cualquier anomalía a {responsible}.",
    ),
    "rolled-back": Template(
        title="Reversión a {version} completada",
        body=(
            "La reversión {id} a {version} en el entorno {stack} se completó el {date} en {took}; "
            "responsable: {responsible}.",
            "{left}",
            "{version} está en servicio en {url}.",
            "{rewound}",
        ),
        detail="Último eslabón de la bitácora: {head}.",
        next="Siguiente paso: {watch}hacer la revisión el {review_due}.",
        asked="Siguiente paso: comprobar que el trabajo habitual sigue funcionando con normalidad y "
        "comunicar cualquier anomalía a {responsible}.",
    ),
    "failed": Template(
        title="Ha fallado el despliegue de {version}",
        body=(
            "El despliegue {id} de {version} en el entorno {stack} falló el {date}; responsable: "
            "{responsible}.",
            "{serves}",
            "{rewound}",
        ),
        detail="Falló en el paso {step}, con este mensaje del programa: «{error}»",
        next="Siguiente paso: corregir el fallo y ejecutar pulumi up{way_out}.",
        asked="Para cualquier consulta, diríjase a {responsible}.",
    ),
    "failed-way-back": Template(
        title="Ha fallado la reversión a {version}",
        body=(
            "La reversión {id} a {version} en el entorno {stack} falló el {date}; responsable: "
            "{responsible}.",
            "{serves}",
            "{rewound}",
        ),
        detail="Falló en el paso {step}, con este mensaje del programa: «{error}»",
        next="Siguiente paso: corregir el fallo y ejecutar pulumi up{way_out}.",
        asked="Para cualquier consulta, diríjase a {responsible}.",
    ),
    "watch-breached": Template(
        title="{version} funciona peor que la versión anterior",
        body=(
            "La vigilancia del despliegue {id} de {version} en el entorno {stack} detectó el {date} que "
            "{measure} es de {found}; antes del despliegue era de {before}. Responsable: {responsible}.",
            "{serves}",
        ),
        next="Siguiente paso: examinar los registros; si la causa es el despliegue{or_back}.",
        asked="Para cualquier consulta, diríjase a {responsible}.",
    ),
    "review-due": Template(
        title="Toca revisar el despliegue de {version}",
        body=(
            "La revisión del despliegue {id} de {version} en el entorno {stack} está prevista para el "
            "{review_due}; responsable: {responsible}.",
            "{serves}",
        ),
        next="Siguiente paso: comprobar que los volúmenes de datos se mantienen estables.",
        asked="Siguiente paso: comprobar que los volúmenes de datos se mantienen estables y comunicar "
        "cualquier anomalía a {responsible}.",
    ),
    "review-bad": Template(
        title="Revisión de {version}: el volumen de {volume} no es estable",
        body=(
            "La revisión del despliegue {id} de {version} en el entorno {stack} detectó el {date} que el "
            "volumen de {volume} es de {found}, cuando se esperaba {expected}. Responsable: {responsible}.",
            "{serves}",
        ),
        next="Siguiente paso: averiguar el motivo; si la causa es el despliegue{or_back}.",
        asked="Siguiente paso: indicar a {responsible} si el trabajo de estos días lo explica.",
    ),
    "recovery-failed": Template(
        title="{stack} no ha podido recuperarse por sí solo",
        body=(
            "El despliegue {id} de {version} en el entorno {stack} falló y el {date} el entorno no pudo "
            "volver por sí solo a {target}; responsable: {responsible}.",
            "{serves}",
        ),
        detail="Mensaje del programa: «{error}»",
        next="Siguiente paso: alguien tiene que intervenir; lo que está en servicio sigue en servicio.",
        asked="Alguien tiene que intervenir: diríjase a {responsible}.",
    ),
    "restored": Template(
        title="Datos de {stack} restaurados",
        body=(
            "La base de datos y los archivos del entorno {stack} se sustituyeron por {source} el {date}; "
            "responsable: {responsible}.",
        ),
        next="Siguiente paso: ejecutar pulumi up --stack {stack} para poner en servicio la versión que "
        "corresponde a estos datos.",
        asked="Siguiente paso: comprobar los últimos registros introducidos, porque puede faltar lo escrito "
        "mientras tanto, y comunicar lo que falte a {responsible}.",
    ),
    "restore-failed": Template(
        title="Ha fallado la restauración de los datos de {stack}",
        body=(
            "La sustitución de la base de datos y los archivos del entorno {stack} por {source} falló el "
            "{date}; responsable: {responsible}.",
        ),
        detail="Mensaje del programa: «{error}»",
        next="Siguiente paso: corregir el fallo y ejecutar de nuevo relevo restore --stack {stack}, que "
        "primero termina un cambio interrumpido.",
        asked="Para cualquier consulta, diríjase a {responsible}.",
    ),
    "drill-failed": Template(
        title="Ha fallado el simulacro de restauración de {backup}",
        body=(
            "El simulacro de restauración con la copia de seguridad {backup} del entorno {stack} falló el "
            "{date}; responsable: {responsible}.",
        ),
        detail="Mensaje del programa: «{error}»",
        next="Siguiente paso: hacer una copia de seguridad con relevo backup --stack {stack} y probarla con "
        "relevo drill.",
        asked="Lo que está en servicio no se ve afectado; para cualquier consulta, diríjase a {responsible}.",
    ),
}

TEMPLATES: Mapping[str, Mapping[str, Template]] = {"en": ENGLISH, "es": SPANISH}

# What facts are made of. Each is a sentence or a part of one.
PHRASES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "replaces": "It replaces {previous}.",
        "first": "It is the first release on this stack.",
        "left": "{left} does not serve any more.",
        "nothing serves": "Nothing serves yet.",
        "serving unknown": "What serves is not known, since the record cannot be read.",
        "serves on": "{version} serves on {names}.",
        "serves there": "{instance} serves {version}",
        "in time": "{spent} of {limit}, within the limit",
        "too late": "{spent} of {limit}, OVER the limit",
        "not verified": "a time that is not known, since not every instance is verified",
        "has rewound": "It reversed {gone}: requests may have failed until it served on every instance.",
        "rewinding": "It reversed {gone}: requests may fail until it serves on every instance.",
        "watch": "watch its log until {until}, and ",
        "way out": ", or go back to {earlier} with relevo rollback",
        "or back": ", go back to {earlier} with relevo rollback",
        "no way back": ", correct it and release again, since there is no version to go back to",
        "backup": "backup {backup}",
        "put aside": "those that had been put aside",
        "errors-4xx": "the rate of 4xx responses",
        "errors-5xx": "the rate of 5xx responses",
        "exceptions": "the number of exceptions",
        "latency": "the latency",
        "restarts": "the number of restarts",
    },
    "es": {
        "replaces": "Sustituye a {previous}.",
        "first": "Es el primer despliegue en este entorno.",
        "left": "{left} ya no está en servicio.",
        "nothing serves": "Todavía no hay ninguna versión en servicio.",
        "serving unknown": "No se sabe qué está en servicio, porque no se puede leer la bitácora.",
        "serves on": "{version} está en servicio en {names}.",
        "serves there": "{version} está en servicio en {instance}",
        "in time": "{spent} de {limit}, dentro del límite",
        "too late": "{spent} de {limit}, POR ENCIMA del límite",
        "not verified": "un tiempo desconocido, porque no todas las instancias están verificadas",
        "has rewound": "Revirtió {gone}: es posible que fallaran solicitudes hasta que la versión estuvo en "
        "servicio en todas las instancias.",
        "rewinding": "Revirtió {gone}: es posible que fallen solicitudes hasta que la versión esté en "
        "servicio en todas las instancias.",
        "watch": "vigilar los registros hasta el {until} y ",
        "way out": ", o volver a {earlier} con relevo rollback",
        "or back": ", volver a {earlier} con relevo rollback",
        "no way back": ", corregirla y desplegar de nuevo, porque no hay una versión a la que volver",
        "backup": "la copia de seguridad {backup}",
        "put aside": "los que se habían apartado",
        "errors-4xx": "la tasa de respuestas 4xx",
        "errors-5xx": "la tasa de respuestas 5xx",
        "exceptions": "el número de excepciones",
        "latency": "la latencia",
        "restarts": "el número de reinicios",
    },
}


def phrase(language: Language | str, name: str, **facts: str) -> str:
    return PHRASES[language][name].format_map(facts)
