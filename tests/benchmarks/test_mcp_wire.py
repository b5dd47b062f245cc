import pytest

from benchmarks.mcp_wire import body_of, call_tool, result_of

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: x\r\n"
EVENT = b'event: message\r\ndata: {"result":{"structuredContent":{"outcome":"none"}}}\r\n\r\n'


@pytest.mark.parametrize("sizes", [(len(EVENT),), (1, 2, 3)])
def test_a_response_in_chunks_is_whole_with_its_last_chunk(sizes: tuple[int, ...]) -> None:
    chunks, left = b"", EVENT
    for size in sizes:
        part, left = left[:size], left[size:]
        chunks += b"%x\r\n%s\r\n" % (len(part), part)
    if left:
        chunks += b"%x\r\n%s\r\n" % (len(left), left)
    whole = HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    for end in range(len(whole)):
        assert body_of(bytearray(whole[:end])) is None
    assert body_of(bytearray(whole)) == EVENT


def test_a_response_with_a_length_is_whole_when_it_is_that_long() -> None:
    whole = HEAD + b"content-length: 3\r\n\r\nabc"
    assert body_of(bytearray(whole[:-1])) is None
    assert body_of(bytearray(whole)) == b"abc"


def test_a_result_is_found_in_json_and_in_the_last_event() -> None:
    expected = {"structuredContent": {"outcome": "none"}}
    assert result_of(EVENT) == expected
    assert result_of(b"data: {}\n\n" + EVENT) == expected
    assert result_of(b'{"result":{"structuredContent":{"outcome":"none"}}}') == expected


@pytest.mark.parametrize("body", [b"", b'{"error":{}}', b'{"result":{"isError":true}}'])
def test_an_error_is_never_taken_for_a_result(body: bytes) -> None:
    with pytest.raises(RuntimeError):
        result_of(body)


def test_the_eras_differ_in_their_headers() -> None:
    assert b"Mcp-Name: t\r\n" in call_tool("h:1", "s", "modern", "t", {})
    assert b"Mcp-Name" not in call_tool("h:1", "s", "legacy", "t", {})
