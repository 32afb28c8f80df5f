"""Somebody at a real browser: opens the address, signs in, consents, waits for the page that says it is over.

    python chromium_person.py URL NAME

A process of its own, so that it can be what $BROWSER names.
"""

from __future__ import annotations

import os
import sys

from playwright.sync_api import sync_playwright

#: Milliseconds.
PATIENCE = 60_000


def consent(url: str, name: str) -> None:
    """Go through the pages of oidc-provider."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"], args=arguments)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(url)
        page.fill('input[name="login"]', name)
        page.fill('input[name="password"]', "anything")
        page.click('button[type="submit"]')
        page.click('button[type="submit"]:has-text("Continue")')
        page.wait_for_selector("text=the answer was received")
        browser.close()


if __name__ == "__main__":
    consent(sys.argv[1], sys.argv[2])
