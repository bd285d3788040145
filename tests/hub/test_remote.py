"""Each refusal of the Hub is one line that says what to do; names are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuralfx.errors import HubError, ModelNotFoundError, NeuralfxError
from neuralfx.hub.load import find
from neuralfx.hub.remote import asking, connect, find_models, is_repository, parse_repository, probe, reach
from tests.hub.conftest import contents
from tests.hub.server import TOKEN, Hub


def refusal(name: str, token: str | None = None) -> NeuralfxError:
    with pytest.raises(NeuralfxError) as caught:
        find(name, token=token)
    assert "\n" not in str(caught.value)
    return caught.value


def test_names_are_split_at_the_revision() -> None:
    repository = parse_repository("me/amp@v1.0.0", endpoint="http://hub/")
    assert repository == ("me/amp", "v1.0.0", "http://hub/me/amp")
    assert (str(repository), repository.is_pinned) == ("me/amp@v1.0.0", False)
    assert parse_repository("me/amp", revision=40 * "a").is_pinned
    assert parse_repository("me/amp", revision="refs/pr/1").revision == "refs/pr/1"
    assert not is_repository("amp") and not is_repository("a/b/c") and not is_repository("a b/c")


@pytest.mark.parametrize(
    ("name", "revision"),
    [("amp", None), ("me/amp@v1", "v2"), ("me/amp", "../x"), ("me/amp", ""), ("me/amp@x\n", None), ("-a/b", None)],
)
def test_other_names_are_refused(name: str, revision: str | None) -> None:
    with pytest.raises(ModelNotFoundError):
        parse_repository(name, revision)


def test_an_unknown_repository_brings_every_way_out(hub: Hub) -> None:
    for token in (None, TOKEN):
        error = refusal("me/nothing", token)
        assert isinstance(error, ModelNotFoundError)
        for part in (f"no model 'me/nothing' at {hub.endpoint}/me/nothing", "private", "hf auth login", "./me/nothing"):
            assert part in str(error)


def test_a_private_repository_needs_a_token(hub: Hub, folder: Path) -> None:
    hub.add("me/amp", contents(folder), private=True)
    assert "or it is private" in str(refusal("me/amp"))
    assert find("me/amp", token=TOKEN).folder.is_dir()


def test_a_token_that_the_hub_does_not_know_is_named(hub: Hub, folder: Path) -> None:
    hub.add("me/amp", contents(folder))
    assert "does not know this token; run 'hf auth login'" in str(refusal("me/amp", "hf_wrong"))


def test_a_gated_repository_brings_the_page_to_open(hub: Hub, folder: Path) -> None:
    hub.add("me/amp", contents(folder), gated=True)
    error = refusal("me/amp")
    assert isinstance(error, HubError)
    assert f"needs access: open {hub.endpoint}/me/amp, accept its terms" in str(error)


def test_an_unknown_revision_is_named(hub: Hub, folder: Path) -> None:
    hub.add("me/amp", contents(folder))
    error = refusal("me/amp@v9")
    assert isinstance(error, ModelNotFoundError)
    assert f"has no revision 'v9'; see {hub.endpoint}/me/amp/tree/main" in str(error)


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (429, {"Retry-After": "37"}, "too many requests from here; try again in 37 s"),
        (429, {"RateLimit": '"api";r=0;t=55'}, "try again in 55 s"),
        (429, {}, "try again in a few minutes"),
        (503, {}, r"has trouble \(HTTP 503\); try again later"),
        (403, {"message": "Forbidden"}, r"the token gives no access to me/amp \(Forbidden\)"),
        (403, {"message": "Access to this resource is disabled."}, "has been disabled by the Hub"),
        (418, {}, "did not answer"),
    ],
)
def test_other_refusals_say_what_to_do(hub: Hub, status: int, headers: dict[str, str], words: str) -> None:
    hub.refuse["/api/models/me/amp"] = (status, headers)
    with pytest.raises(HubError, match=words):
        find("me/amp")
    assert len(hub.requests) == 1


def test_an_answer_of_something_else_than_a_hub_is_no_answer(hub: Hub) -> None:
    hub.refuse["/api/models/me/amp"] = (200, {})
    with pytest.raises(HubError, match="did not answer"):
        find("me/amp")


def test_a_disk_that_cannot_be_written_is_not_the_hub(hub: Hub) -> None:
    with pytest.raises(HubError, match=r"/cache/x: cannot be written \(No space left on device\)"), asking():
        raise OSError(28, "No space left on device", "/cache/x")


def test_our_own_errors_pass(hub: Hub) -> None:
    with pytest.raises(ModelNotFoundError, match="mine"), asking():
        raise ModelNotFoundError("mine")


def test_models_are_found_by_their_tag(hub: Hub, carded: Path) -> None:
    hub.add("you/amp", contents(carded))
    hub.add("me/amp", contents(carded))
    hub.add("me/other", {"README.md": b"---\nlibrary_name: timm\n---\n"})
    hub.add("me/secret", contents(carded), private=True)
    found = find_models()
    assert [model.id for model in found] == ["me/amp", "you/amp"]
    assert found[0].card_data.license == "mit"


def test_the_client_says_that_it_is_neuralfx(hub: Hub, folder: Path) -> None:
    api = connect("t")
    assert (api.library_name, api.token) == ("neuralfx", "t")
    hub.add("me/amp", contents(folder))
    info = probe(connect(), parse_repository("me/amp"))
    assert {file.rfilename: file.size for file in info.siblings or []}["README.md"] == len(
        contents(folder)["README.md"]
    )
    reach(connect())


def test_no_network_is_noticed_at_once_when_all_are_asked() -> None:
    with pytest.raises(HubError, match="did not answer"):
        find_models(endpoint="http://127.0.0.1:9")
