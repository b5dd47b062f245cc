"""The fixtures that the official conformance runner looks for, behind the product's own endpoint.

The runner tests a server by names: a tool `test_image_content` that answers an image, and so on.
None of them is the product's business, so they are served by a server of their own through
`McpEndpoint`, as the product is: what is proven is all that stands between a client and a handler.
"""

import asyncio
import json
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp_types import (
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    BlobResourceContents,
    CallToolRequestParams,
    CallToolResult,
    ClientCapabilities,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    ContentBlock,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitationCapability,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    EmptyResult,
    GetPromptRequestParams,
    GetPromptResult,
    ImageContent,
    InputRequest,
    InputRequiredResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListRootsRequest,
    ListToolsResult,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    SamplingCapability,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    Tool,
    UnsubscribeRequestParams,
)

Context = ServerRequestContext[Any]
Answer = CallToolResult | InputRequiredResult

# One grey pixel, and eight silent samples.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
WAV = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA=="
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}
SCHEMAS: dict[str, dict[str, Any]] = {
    "test_custom_headers": {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
        "required": ["region"],
    },
    # All of JSON Schema's newer words, which must reach the client as they are.
    "json_schema_2020_12_tool": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {
            "properties": {"contactMethod": {"const": "phone"}},
            "required": ["contactMethod"],
        },
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
}


# -- tools ----------------------------------------------------------------------------------------


def _text(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)])


def _embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return EmbeddedResource(resource=contents)


def _fixed(*content: ContentBlock) -> "Fixture":
    async def answer(context: Context, params: CallToolRequestParams) -> Answer:
        return CallToolResult(content=list(content))

    return answer


async def _fails(context: Context, params: CallToolRequestParams) -> Answer:
    return CallToolResult(content=[TextContent(text="It fails on purpose.")], is_error=True)


async def _progress(context: Context, params: CallToolRequestParams) -> Answer:
    for done in (0, 50, 100):
        await context.session.report_progress(done, 100, f"{done} of 100")
        await asyncio.sleep(0.05)
    return _text("done")


async def _logging(context: Context, params: CallToolRequestParams) -> Answer:
    for line in ("started", "works", "ends"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MCPDeprecationWarning)
            await context.session.send_log_message(
                "info", line, related_request_id=context.request_id
            )
        await asyncio.sleep(0.05)
    return _text("done")


async def _needs_sampling(context: Context, params: CallToolRequestParams) -> Answer:
    wanted = ClientCapabilities(sampling=SamplingCapability())
    if not context.session.check_client_capability(wanted):
        raise _missing({"sampling": {}})
    return _text("The client can sample.")


def _missing(capabilities: dict[str, Any]) -> MCPError:
    data = {"requiredCapabilities": capabilities}
    return MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "The client cannot do that.", data)


# -- tools that ask back --------------------------------------------------------------------------


def _form(message: str, name: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(text: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(text=text))
    return CreateMessageRequest(
        params=CreateMessageRequestParams(messages=[message], max_tokens=100)
    )


Asked = dict[str, InputRequest]
NAME: Asked = {"user_name": _form("What is your name?", "name")}
CAPITAL: Asked = {"capital_question": _sample("What is the capital of France?")}
ROOTS: Asked = {"client_roots": ListRootsRequest()}
CONFIRM: Asked = {"confirm": _form("Please confirm", "ok", "boolean")}


def _asks(*rounds: Asked, told: str = "", state: str | None = None) -> "Fixture":
    """Make a tool that asks for one thing after another; the state says how far it is."""

    async def answer(context: Context, params: CallToolRequestParams) -> Answer:
        given = params.input_responses or {}
        at = int(params.request_state or 0) if state else 0
        if not set(rounds[at]) <= set(given):
            return InputRequiredResult(
                input_requests=rounds[at], request_state=str(at) if state else None
            )
        if at + 1 < len(rounds):
            return InputRequiredResult(input_requests=rounds[at + 1], request_state=str(at + 1))
        answers = {name: one.model_dump(mode="json", by_alias=True) for name, one in given.items()}
        return _text(f"{told} {json.dumps(answers)}".strip())

    return answer


async def _asks_what_the_client_can(context: Context, params: CallToolRequestParams) -> Answer:
    """Ask for nothing that the client did not say it can do."""
    can = context.session.check_client_capability
    wanted: Asked = {}
    if can(ClientCapabilities(sampling=SamplingCapability())):
        wanted |= CAPITAL
    if can(ClientCapabilities(elicitation=ElicitationCapability())):
        wanted |= NAME
    if not wanted or params.input_responses:
        return _text("done")
    return InputRequiredResult(input_requests=wanted)


async def _greets(context: Context, params: CallToolRequestParams) -> Answer:
    given = params.input_responses or {}
    if "user_name" not in given:
        return InputRequiredResult(input_requests=NAME)
    content = getattr(given["user_name"], "content", None) or {}
    return _text(f"Hello, {content.get('name', 'stranger')}!")


Fixture = Callable[[Context, CallToolRequestParams], Awaitable[Answer]]
IMAGE = ImageContent(data=PNG, mime_type="image/png")
MRTR = "test_input_required_result_"
FIXTURES: dict[str, Fixture] = {
    "test_simple_text": _fixed(TextContent(text="This is a simple text response for testing.")),
    "test_image_content": _fixed(IMAGE),
    "test_audio_content": _fixed(AudioContent(data=WAV, mime_type="audio/wav")),
    "test_embedded_resource": _fixed(
        _embedded("test://embedded-resource", "This is an embedded resource content.")
    ),
    "test_multiple_content_types": _fixed(
        TextContent(text="Multiple content types test:"),
        IMAGE,
        _embedded("test://mixed-content-resource", '{"test":"data"}', "application/json"),
    ),
    "test_error_handling": _fails,
    "test_tool_with_progress": _progress,
    "test_tool_with_logging": _logging,
    "test_logging_tool": _logging,
    "test_streaming_elicitation": _progress,
    "test_custom_headers": _fixed(TextContent(text="The headers fit the arguments.")),
    "json_schema_2020_12_tool": _fixed(TextContent(text="The schema holds.")),
    "test_missing_capability": _needs_sampling,
    f"{MRTR}elicitation": _greets,
    f"{MRTR}sampling": _asks(CAPITAL),
    f"{MRTR}list_roots": _asks(ROOTS),
    f"{MRTR}request_state": _asks(CONFIRM, told="state-ok", state="0"),
    f"{MRTR}tampered_state": _asks(
        {"confirm": _form("Please confirm", "ok", "boolean")}, state="0"
    ),
    f"{MRTR}multiple_inputs": _asks(
        NAME | {"greeting": _sample("Generate a greeting")} | ROOTS, state="0"
    ),
    f"{MRTR}multi_round": _asks(
        {"step1": _form("Step 1: What is your name?", "name")},
        {"step2": _form("Step 2: What is your favorite color?", "color")},
        state="0",
    ),
    f"{MRTR}capabilities": _asks_what_the_client_can,
}


async def _list_tools(context: Context, _: PaginatedRequestParams | None) -> ListToolsResult:
    tools = [
        Tool(
            name=name,
            description=f"Fixture {name}.",
            input_schema=SCHEMAS.get(name, NO_ARGUMENTS),
        )
        for name in (*FIXTURES, *CHANGES)
    ]
    return ListToolsResult(tools=tools)


# What each of these tools says has changed, to all who listen.
CHANGES: dict[str, ServerEvent] = {
    "test_trigger_tool_change": ToolsListChanged(),
    "test_trigger_prompt_change": PromptsListChanged(),
}
BUS = InMemorySubscriptionBus()


async def _call_tool(context: Context, params: CallToolRequestParams) -> Answer:
    if params.name in CHANGES:
        await BUS.publish(CHANGES[params.name])
        return _text("It changed.")
    fixture = FIXTURES.get(params.name)
    if fixture is None:
        raise MCPError(INVALID_PARAMS, f"There is no tool {params.name}.")
    return await fixture(context, params)


# -- resources ------------------------------------------------------------------------------------

TEMPLATE = "test://template/{id}/data"
TEXTS = {
    "test://static-text": "This is the content of the static text resource.",
    "test://watched-resource": "Watched resource content.",
}
BINARY = "test://static-binary"


async def _list_resources(
    context: Context, _: PaginatedRequestParams | None
) -> ListResourcesResult:
    listed = [Resource(uri=uri, name=uri, mime_type="text/plain") for uri in TEXTS]
    return ListResourcesResult(
        resources=[*listed, Resource(uri=BINARY, name=BINARY, mime_type="image/png")]
    )


async def _list_templates(
    context: Context, _: PaginatedRequestParams | None
) -> ListResourceTemplatesResult:
    template = ResourceTemplate(uri_template=TEMPLATE, name="data", mime_type="application/json")
    return ListResourceTemplatesResult(resource_templates=[template])


async def _read(context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
    uri = str(params.uri)
    before, after = TEMPLATE.split("{id}")
    if uri == BINARY:
        blob = BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
        return ReadResourceResult(contents=[blob])
    if uri in TEXTS:
        text, mime_type = TEXTS[uri], "text/plain"
    elif uri.startswith(before) and uri.endswith(after):
        text = json.dumps({"id": uri[len(before) : -len(after)], "templateTest": True})
        mime_type = "application/json"
    else:
        raise MCPError(INVALID_PARAMS, f"There is no resource {uri}.", {"uri": uri})
    contents = TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return ReadResourceResult(contents=[contents])


async def _subscribe(
    context: Context, params: SubscribeRequestParams | UnsubscribeRequestParams
) -> EmptyResult:
    return EmptyResult()


# -- prompts --------------------------------------------------------------------------------------


def _arguments(*names: str) -> list[PromptArgument]:
    return [PromptArgument(name=name, description=name, required=True) for name in names]


PROMPTS = (
    Prompt(name="test_simple_prompt"),
    Prompt(name="test_prompt_with_arguments", arguments=_arguments("arg1", "arg2")),
    Prompt(name="test_prompt_with_embedded_resource", arguments=_arguments("resourceUri")),
    Prompt(name="test_prompt_with_image"),
    Prompt(name=f"{MRTR}prompt"),
)


async def _list_prompts(context: Context, _: PaginatedRequestParams | None) -> ListPromptsResult:
    described = [p.model_copy(update={"description": f"Fixture {p.name}."}) for p in PROMPTS]
    return ListPromptsResult(prompts=described)


async def _get_prompt(
    context: Context, params: GetPromptRequestParams
) -> GetPromptResult | InputRequiredResult:
    given = params.arguments or {}
    content: ContentBlock
    match params.name:
        case "test_simple_prompt":
            content = TextContent(text="This is a simple prompt for testing.")
        case "test_prompt_with_arguments":
            content = TextContent(text=f"arg1={given['arg1']!r}, arg2={given['arg2']!r}")
        case "test_prompt_with_embedded_resource":
            content = _embedded(given["resourceUri"], "Embedded resource content for testing.")
        case "test_prompt_with_image":
            content = IMAGE
        case _ if not params.input_responses:
            asked = _form("What context should the prompt use?", "context")
            return InputRequiredResult(input_requests={"user_context": asked})
        case _:
            content = TextContent(text="A prompt with the context that was asked for.")
    return GetPromptResult(messages=[PromptMessage(role="user", content=content)])


async def _complete(context: Context, params: CompleteRequestParams) -> CompleteResult:
    words = [w for w in ("paris", "park", "party") if w.startswith(params.argument.value)]
    return CompleteResult(completion=Completion(values=words, total=len(words), has_more=False))


async def _set_level(context: Context, params: SetLevelRequestParams) -> EmptyResult:
    return EmptyResult()


# -- server ---------------------------------------------------------------------------------------


def build_fixture_server() -> Server[Any]:
    """Make the server; it keeps nothing between requests but who listens for changes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        server: Server[Any] = Server(
            "conformance",
            version="1",
            on_list_tools=_list_tools,
            on_call_tool=_call_tool,
            on_list_resources=_list_resources,
            on_list_resource_templates=_list_templates,
            on_read_resource=_read,
            on_subscribe_resource=_subscribe,
            on_unsubscribe_resource=_subscribe,
            on_list_prompts=_list_prompts,
            on_get_prompt=_get_prompt,
            on_completion=_complete,
            on_set_logging_level=_set_level,
            on_subscriptions_listen=ListenHandler(BUS),
        )
    server.middleware.append(
        RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="conformance")
    )
    return server
