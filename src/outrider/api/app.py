"""The HTTP API: a thin translation between requests and ``ApiState``.

Every refusal is JSON of one shape, ``{"error": "one sentence", "problems": […]}``, and a status code that says whose
turn it is: 4xx the asker's, 5xx ours. It is served on a Unix socket that only root can open; agents use it as well.
"""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from outrider import __version__
from outrider.api.changes import Busy, NotDeclared, StillNeeded, apply_values, delete_keys, patch_labels
from outrider.api.state import ApiState, Row
from outrider.api.streams import LineStream
from outrider.api.views import describe, list_items
from outrider.manifests.convert import Declared, from_manifest, kind_of
from outrider.manifests.guest_labels import is_uuid
from outrider.manifests.kinds import API_VERSION, DECLARED_KINDS, GUEST, KINDS, Kind
from outrider.manifests.problems import ManifestError, Origin, Problem
from outrider.store.contract import StoreError

MAX_BODY_BYTES = 128 << 20

_PLURALS = {kind.plural: kind for kind in KINDS}
_DECLARED = {kind.plural: kind for kind in DECLARED_KINDS}

router = APIRouter()


def create_app(state: ApiState) -> FastAPI:
    """The ASGI application in front of ``state``."""
    app = FastAPI(title="Outrider", version=__version__, openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None)
    app.state.outrider = state
    app.include_router(router)
    _answer_errors(app)
    return app


def _state_of(request: Request) -> ApiState:
    state: ApiState = request.app.state.outrider
    return state


State = Annotated[ApiState, Depends(_state_of)]


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Alive, and able to answer."""
    return {"status": "ok"}


@router.get("/v1/version")
async def version() -> dict[str, str]:
    """The controller's version and the manifests' one."""
    return {"version": __version__, "apiVersion": API_VERSION}


@router.post("/v1/apply")
async def apply(request: Request, state: State, dryRun: bool = False) -> dict[str, Any]:
    """Declare the manifests in ``{"items": […]}``, all or none."""
    return (await apply_values(state, _values(await _json_body(request)), dryRun)).as_json()


@router.post("/v1/delete")
async def delete_all(request: Request, state: State, dryRun: bool = False) -> dict[str, Any]:
    """Delete ``{"items": [{"kind": …, "name": …}, …]}``, all or none."""
    keys = [_key(item) for item in _items(await _json_body(request))]
    return (await delete_keys(state, keys, dryRun)).as_json()


@router.get("/v1/events")
async def events(state: State, follow: bool = False) -> Response:
    """Events as JSON lines, oldest first; with ``follow`` the answer does not end."""
    return LineStream(_lines(state.events(follow)))


@router.get("/v1/explain/guest/{name:path}")
async def explain(name: str, state: State) -> dict[str, Any]:
    """Why this guest's packets go the way they go."""
    lines = await state.explain(name)
    if not lines:
        raise HTTPException(404, f"no server knows a guest {name!r}")
    return {"guest": name, "lines": list(lines)}


@router.get("/v1/agents/{server}/intents")
async def intents(server: str, instance: str, state: State) -> Response:
    """The intents of one server as JSON lines, for as long as its agent listens."""
    return LineStream(state.intent_lines(server, instance))


@router.post("/v1/agents/{server}/reports", status_code=204)
async def report(server: str, request: Request, state: State) -> Response:
    """Take in what an agent observed."""
    try:
        await state.take_report(server, await _body(request))
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    return Response(status_code=204)


@router.get("/v1/{plural}")
async def list_kind(plural: str, state: State, name: str | None = None) -> dict[str, Any]:
    """All objects of one kind, or those of one name."""
    kind = _kind(plural, _PLURALS)
    items = await list_items(state, kind, name)
    if name is not None and not items:
        raise _unknown(kind, name)
    return {"items": items}


@router.get("/v1/{plural}/{name:path}")
async def describe_one(plural: str, name: str, state: State) -> dict[str, Any]:
    """Everything about one object."""
    kind = _kind(plural, _PLURALS)
    description = await describe(state, kind, name)
    if description is None:
        raise _unknown(kind, name)
    return description


@router.put("/v1/{plural}/{name:path}")
async def put_one(plural: str, name: str, request: Request, state: State) -> dict[str, Any]:
    """Declare one object; the manifest's own kind and name must be those of the path."""
    kind = _kind(plural, _DECLARED)
    value = from_manifest(await _json_body(request))
    if kind_of(value) is not kind or value.name != name:
        raise HTTPException(422, f"the manifest is of {kind_of(value).name} {value.name!r}, not {kind.name} {name!r}")
    return (await apply_values(state, [value])).as_json()


@router.patch("/v1/guests/{name:path}")
async def patch_guest(name: str, request: Request, state: State) -> dict[str, Any]:
    """Change labels of one guest: ``{"labels": {"key": "value", "other": null}}`` (RFC 7386: null removes)."""
    body = await _json_body(request)
    labels = body.get("labels") if isinstance(body, dict) else None
    if not isinstance(labels, dict) or not all(isinstance(value, str | None) for value in labels.values()):
        raise HTTPException(422, "the body must be a JSON object with labels: a value or null for each key")
    return (await patch_labels(state, name, labels)).as_json()


@router.delete("/v1/{plural}/{name:path}")
async def delete_one(plural: str, name: str, state: State) -> dict[str, Any]:
    """Delete one declared object."""
    return (await delete_keys(state, [(_kind(plural, _DECLARED), name)])).as_json()


def _kind(plural: str, known: dict[str, Kind]) -> Kind:
    if plural in known:
        return known[plural]
    if plural in _PLURALS:
        raise HTTPException(405, f"{plural} are observed, not declared; allowed: {', '.join(known)}")
    raise HTTPException(404, f"there is no {plural!r}; known: {', '.join(known)}")


def _unknown(kind: Kind, name: str) -> HTTPException:
    return HTTPException(404, f"there is no {kind.name} {name!r}")


def _items(body: Any) -> list[Any]:
    items = body.get("items") if isinstance(body, dict) else None
    if not isinstance(items, list):
        raise HTTPException(422, "the body must be a JSON object with a list of items")
    return items


def _values(body: Any) -> list[Declared]:
    values: list[Declared] = []
    problems: list[Problem] = []
    for number, item in enumerate(_items(body), start=1):
        try:
            values.append(from_manifest(item, Origin("request", number)))
        except ManifestError as error:
            problems.extend(error.problems)
    if problems:
        raise ManifestError(problems)
    return values


def _key(item: Any) -> tuple[Kind, str]:
    if isinstance(item, dict) and isinstance(item.get("name"), str):
        for kind in DECLARED_KINDS:
            if kind.name == item.get("kind"):
                return kind, _canonical(kind, item["name"])
    names = ", ".join(kind.name for kind in DECLARED_KINDS)
    raise HTTPException(422, f"each item needs a name and a kind ({names})")


def _canonical(kind: Kind, name: str) -> str:
    return name.lower() if kind is GUEST and is_uuid(name.lower()) else name


async def _body(request: Request) -> bytes:
    """The whole body, of bounded length."""
    chunks, length = [], 0
    async for chunk in request.stream():
        length += len(chunk)
        if length > MAX_BODY_BYTES:
            raise HTTPException(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


async def _json_body(request: Request) -> Any:
    try:
        return json.loads(await _body(request))
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from error


async def _lines(rows: AsyncIterator[Row]) -> AsyncIterator[bytes]:
    async for row in rows:
        yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _answer_errors(app: FastAPI) -> None:
    """Every exception that means something to the asker, as the one shape of refusals."""

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> Response:
        return _refusal(error.status_code, str(error.detail))

    @app.exception_handler(ManifestError)
    async def invalid(request: Request, error: ManifestError) -> Response:
        return _refusal(422, str(error.problems[0]), [str(problem) for problem in error.problems])

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _refusal(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        # Starlette raises it again after this answer, so that the server logs the traceback.
        return _refusal(500, f"internal fault ({type(error).__name__}); the controller's log has the traceback")

    for kind, status in ((NotDeclared, 404), (StillNeeded, 409), (Busy, 503), (StoreError, 503)):
        app.add_exception_handler(kind, _refuse_with(status))


def _refuse_with(status: int) -> Any:
    async def refuse(request: Request, error: Exception) -> Response:
        return _refusal(status, str(error))

    return refuse


def _refusal(status: int, sentence: str, problems: list[str] | None = None) -> Response:
    return JSONResponse({"error": sentence, "problems": problems or [sentence]}, status_code=status)
