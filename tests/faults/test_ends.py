"""A run that can do no more ends, in real time: a clock moved by hand hides a vain wait."""

from __future__ import annotations

from harness import Making


def test_a_run_whose_first_job_would_pass_the_budget_ends_at_once(make_site: Making) -> None:
    with make_site() as site:
        ended = site.run("--max-credits", "10")
        assert ended.code == 4
        assert "the budget is reached" in ended.err
        site.resume(1)


def test_no_wait_ends_at_the_hourly_limit_with_the_command_that_goes_on(make_site: Making) -> None:
    with make_site(2) as site:
        site.write(2, "service: {submissions_per_hour: 1}")
        ended = site.run("--no-wait")
        assert ended.code == 7
        assert "kling-batch run batch.yaml" in ended.err
        site.write(2)
        site.resume(2)
