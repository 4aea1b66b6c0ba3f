"""For schemathesis: real media in most of the requests it makes up, so that they come further than the decoder.

It is loaded by schemathesis' own process, which may not have this package; it needs nothing else.
"""

from __future__ import annotations

import base64
import os
import random

import schemathesis

MEDIA = {kind: base64.b64decode(data) for kind, data in (one.split(":") for one in os.environ["MEDIA"].split())}
KINDS = {"image_url": "png", "video_url": "mp4"}
chosen = random.Random(0)


@schemathesis.hook
def map_body(context: object, body: object) -> object:
    """Put a picture, a film or a sound where the schema asks for bytes or for an address."""
    if not isinstance(body, dict) or chosen.random() < 0.2:
        return body
    if "file" in body:
        return {**body, "file": chosen.choice(list(MEDIA.values()))}
    if isinstance(body.get("content"), list):
        return {**body, "content": [real(part) for part in body["content"]]}
    if isinstance(body.get("messages"), list):
        return {**body, "messages": [in_message(one) for one in body["messages"]]}
    return body


def in_message(message: object) -> object:
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        return message
    return {**message, "content": [real(part) for part in message["content"]]}


def real(part: object) -> object:
    if not isinstance(part, dict):
        return part
    for name, kind in KINDS.items():
        if isinstance(part.get(name), dict) and isinstance(part[name].get("url"), str):
            url = f"data:;base64,{base64.b64encode(MEDIA[kind]).decode()}"
            return {**part, name: {**part[name], "url": url}}
    if isinstance(part.get("input_audio"), dict) and isinstance(part["input_audio"].get("data"), str):
        return {**part, "input_audio": {**part["input_audio"], "data": base64.b64encode(MEDIA["wav"]).decode()}}
    return part
