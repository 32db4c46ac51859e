"""Public http and https URLs pass, whatever hides another host does not."""

from __future__ import annotations

import pytest

from kling_batch.manifest.urls import fault, looks_like_url, name_of, safe


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example.com/a.png",
        "http://example.com",
        "HTTPS://Example.COM:8443/a/b.mp4?sig=a%2Bb&x=1#t",
        "https://xn--bcher-kva.example/a.png",
        "https://8.8.8.8/a.png",
        "https://[2606:4700::1111]/a.png",
        "https://cdn_1.example.com/ä.png",
        "https://cdn.example.com./a.png",
        "https://cdn.example.com/a@b.png",
    ],
)
def test_public_urls_pass(url: str) -> None:
    assert fault(url) is None


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST", "localhost.", "a.localhost", "printer.local", "db.internal",
        "127.0.0.1", "127.1", "127.0.0.1.", "0", "0.0.0.0", "2130706433", "017700000001",
        "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "[::1]", "[::]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[fe80::1]", "[fc00::1]", "[ff02::1]",
        "[2002:7f00:1::]", "[64:ff9b::10.0.0.1]", "[::127.0.0.1]", "[fe80::1%25eth0]", "router",
    ],
)  # fmt: skip
def test_hosts_nearby_are_refused_unless_the_service_is_there(host: str) -> None:
    assert fault(f"http://{host}/a.png") is not None
    if "%" not in host:
        assert fault(f"http://{host}/a.png", private=True) is None


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/a", "file:///etc/passwd", "javascript:alert(1)", "data:,x",
        "//example.com/a", "https:/example.com", "https://", "https:///a",
        "https://u:p@example.com/", "https://u@example.com", "https://example.com:0/",
        "https://example.com:99999/", "https://example.com:/", "https://exa mple.com/",
        "https://example.com\\@127.0.0.1/", "https://example.com/\n", "https://example.com/\x00",
        "https://\uff11\uff12\uff17.0.0.1/", "https://example\u3002com/", "https://[::1/",
        "https://%31%32%37.0.0.1/", "https://1.2.3.4.5/", "https://1.2.3.256/",
        "https://" + "a" * 3000 + ".com", " https://example.com", "https://example.com ",
        "https://-example.com/", "https://a..b.com/",
    ],
)  # fmt: skip
def test_what_is_no_plain_web_url_is_refused_even_there(url: str) -> None:
    assert fault(url, private=False) is not None
    assert fault(url, private=True) is not None


def test_names_are_told_from_urls() -> None:
    assert not looks_like_url("knight.v2")
    assert all(map(looks_like_url, ("https://a.b/c", "file:x", "cdn.example.com/a.png")))


def test_a_url_without_a_path_goes_by_its_host() -> None:
    assert name_of("https://example.com/") == "example.com"
    assert name_of("https://example.com/.png") == "png"


def test_what_safety_leaves_nothing_of_goes_by_a_hash_of_its_text() -> None:
    assert safe("雨") == safe("雨") != safe("雪")
    assert safe("light rain!") == "light-rain"
