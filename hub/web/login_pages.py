"""The few pages that are seen before the login, as HTML text. Pure; needs no script.

Everything that varies is escaped. The look is `login.css`. Called by `hub.web.auth`.
"""

from __future__ import annotations

from html import escape

from hub.web.passwords import MIN_CHARS

_SHELL = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · Veilcast</title>
<link rel="icon" href="/login.svg" type="image/svg+xml">
<link rel="stylesheet" href="/login.css">
</head>
<body>
<main>
<p class="brand"><img src="/login.svg" alt="" width="32" height="32"> Veilcast</p>
<h1>{title}</h1>
{message}{body}
</main>
</body>
</html>
"""
_NEW = (
    '<label for="password">{label}</label>\n'
    '<input id="password" name="password" type="password" autocomplete="new-password" required '
    f'minlength="{MIN_CHARS}" maxlength="512" aria-describedby="hint">\n'
    f'<p class="hint" id="hint">At least {MIN_CHARS} characters; several words are good.</p>\n'
    '<label for="again">The same again</label>\n'
    '<input id="again" name="again" type="password" autocomplete="new-password" required '
    'maxlength="512">\n'
)


def login_page(next_path: str, message: str = "", name: str = "") -> str:
    body = (
        '<form method="post" action="/login">\n'
        f'<input type="hidden" name="next" value="{escape(next_path)}">\n'
        + _name(name, is_new=False)
        + '<label for="password">Password</label>\n'
        '<input id="password" name="password" type="password" autocomplete="current-password" required '
        'maxlength="512">\n'
        '<button type="submit">Sign in</button>\n</form>\n'
        '<p class="hint">Forgotten? An admin runs <code>veilcast-hub users reset-link NAME</code> on the hub.'
        "</p>"
    )
    return _page("Sign in", body, message)


def first_page(code: str, message: str = "", name: str = "") -> str:
    body = (
        "<p>Nobody can sign in yet. Choose name and password of the first admin.</p>\n"
        '<form method="post" action="/first">\n'
        f'<input type="hidden" name="code" value="{escape(code)}">\n'
        + _name(name, is_new=True)
        + _NEW.format(label="Password")
        + '<button type="submit">Begin</button>\n</form>'
    )
    return _page("First admin", body, message)


def reset_page(code: str, name: str, message: str = "") -> str:
    body = (
        '<form method="post" action="/reset">\n'
        f'<input type="hidden" name="code" value="{escape(code)}">\n'
        f"{_known_name(name)}{_NEW.format(label='New password')}"
        '<button type="submit">Set the password</button>\n</form>'
    )
    return _page("Choose a password", body, message)


def password_page(csrf: str, name: str, message: str = "") -> str:
    body = (
        '<form method="post" action="/password">\n'
        f'<input type="hidden" name="csrf" value="{escape(csrf)}">\n'
        f"{_known_name(name)}"
        '<label for="old">Present password</label>\n'
        '<input id="old" name="old" type="password" autocomplete="current-password" required '
        'maxlength="512">\n'
        f"{_NEW.format(label='New password')}"
        '<button type="submit">Change it</button>\n</form>\n'
        '<p class="hint">You are signed out everywhere else. <a href="/">Back</a></p>'
    )
    return _page("Change the password", body, message)


def message_page(title: str, text: str) -> str:
    return _page(title, f'<p>{escape(text)}</p>\n<p><a href="/">Go on</a></p>')


def _page(title: str, body: str, message: str = "") -> str:
    told = f'<p class="message" role="alert">{escape(message)}</p>\n' if message else ""
    return _SHELL.format(title=escape(title), message=told, body=body)


def _name(name: str, *, is_new: bool) -> str:
    return (
        '<label for="name">Name</label>\n'
        f'<input id="name" name="name" value="{escape(name)}" autocomplete="username" '
        'autocapitalize="none" spellcheck="false" required maxlength="64"'
        f"{' autofocus' if not is_new or not name else ''}>\n"
    )


def _known_name(name: str) -> str:
    """For password managers, and to see whose it is."""
    return (
        '<label for="name">Name</label>\n'
        f'<input id="name" name="name" value="{escape(name)}" autocomplete="username" readonly>\n'
    )
