"""Bodies of requests, read as the structs that they are to be."""

from __future__ import annotations

from http import HTTPStatus
from typing import TypeVar

import msgspec
from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

_Body = TypeVar("_Body", bound=msgspec.Struct)


async def read_body(request: Request, kind: type[_Body]) -> _Body:
    """Return the JSON body as ``kind``, an empty one as ``{}``; 422 in words where it is not.

    Its size and the time that it takes are bounded where the request comes in.
    """
    try:
        content = await request.body()
    except ClientDisconnect as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the body broke off") from error
    try:
        return msgspec.json.decode(content or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"body: {error}") from error
