"""The description of the interface (OpenAPI 3.1), made from the operations' own declarations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from openapi_pydantic import OpenAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vcompose.web import wire
from vcompose.web.operation import Operation
from vcompose.web.problems import kind

EVERYWHERE: Final = ("bad_request", "origin_not_allowed", "compressed_body", "host_not_allowed", "internal_error")
"""Codes that any operation may answer with."""
_REF: Final = "#/components/schemas/{model}"


def describe(operations: Iterable[tuple[str, Operation]], *, version: str, prefix: str) -> str:
    """The document for operations and their full paths, as JSON."""
    listed = list(operations)
    asked = {one.body for _, one in listed if one.body is not None}
    told = {answer.model for _, one in listed for answer in one.answers.values() if answer.model is not None}
    told |= {wire.Problem, *wire.MESSAGES}
    order = sorted(asked, key=lambda model: model.__name__), sorted(told, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "validation") for model in order[0]] + [(model, "serialization") for model in order[1]],
        ref_template=_REF,
    )
    paths: dict[str, dict[str, Any]] = {}
    for path, one in listed:
        paths.setdefault(path, {})[one.method.lower()] = _operation(path, one)
    document = {
        "openapi": "3.1.1",
        "info": {
            "title": "vcompose",
            "version": version,
            "description": "Join people's videos: copied untouched where they fit, encoded where they do not. Errors "
            "are application/problem+json with a stable code, in English or Chinese by Accept-Language.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": prefix or "/"}],
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }
    OpenAPI.model_validate(document)  # a document that is none must not be published
    return json.dumps(document, ensure_ascii=False)


def _operation(path: str, one: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {"operationId": one.name, "summary": one.summary, "responses": _responses(one)}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    schema = one.query.model_json_schema(ref_template=_REF)
    for name, value in schema.get("properties", {}).items():
        parameters.append({"name": name, "in": "query", "required": False, "schema": _inlined(value, schema)})
    for name, text in one.headers.items():
        parameters.append(
            {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        )
    if parameters:
        told["parameters"] = parameters
    if one.body is not None:
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(one.body)}}}
    elif one.upload:
        form = {
            "type": "object",
            "required": ["file"],
            "properties": {"file": {"type": "string", "format": "binary"}},
        }
        told["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    return told


def _responses(one: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for status, answer in sorted(one.answers.items()):
        response: dict[str, Any] = {"description": answer.text}
        if answer.model is not None:
            response["content"] = {answer.media: {"schema": _ref(answer.model)}}
        elif status in {200, 206} and answer.media != "application/json":
            response["content"] = {answer.media: {"schema": {}}}
        if answer.headers:
            response["headers"] = {
                name: {"description": text, "schema": {"type": "string"}} for name, text in answer.headers.items()
            }
        told[str(status)] = response
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys((*one.problems, *EVERYWHERE)):
        by_status.setdefault(kind(code).status, []).append(code)
    for status, codes in sorted(by_status.items()):
        response = {
            "description": f"A problem: {', '.join(codes)}",
            "content": {"application/problem+json": {"schema": _ref(wire.Problem)}},
        }
        told.setdefault(str(status), response)
    return told


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _inlined(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter's schema without references: enumerations are small."""
    text = json.dumps(value)
    for name, definition in schema.get("$defs", {}).items():
        text = text.replace(json.dumps({"$ref": _REF.format(model=name)}), json.dumps(definition))
    inlined: dict[str, Any] = json.loads(text)
    return inlined
