"""A collection of as many rows as are asked for, made up on the way: `GET /v1/rows?total=1000000&limit=1000&after=N`.

Wants a bearer token, answers `{"data": […], "meta": {"next": "N"}}`. Runs in a process of its own, without our
packages: `python -I json_server.py TOKEN`. Prints its port, ends with its input.
"""

import os
import socket
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

#: Nine fields, about 230 bytes.
ROW = (
    '{"id":%d,"name":"attendee %d","email":"attendee.%d@example.org","amount":%d.25,"score":%d.5,"paid":%s,'
    '"changed_at":"%s","tags":["a",%d],"note":%s}'
)
#: The beginning of 2026 in seconds since 1970.
BEGIN = 1767225600


def row(number):
    changed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(BEGIN + number))
    paid, note = ("false", "true")[number % 2], "null" if number % 3 else '"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"'
    return ROW % (number, number, number, number % 10000, number, paid, changed, number % 7, note)


def page(query):
    first = int(query.get("after", ["0"])[0]) + 1
    last = min(first + int(query["limit"][0]) - 1, int(query["total"][0]))
    following = f'"{last}"' if last < int(query["total"][0]) else "null"
    return f'{{"data":[{",".join(map(row, range(first, last + 1)))}],"meta":{{"next":{following}}}}}'.encode()


def serve(connection, wanted):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as lines:
        while asked := lines.readline():
            fields = iter(lines.readline, b"\r\n")
            allowed = wanted in [line.strip().lower() for line in fields]
            body = page(parse_qs(urlsplit(asked.split()[1].decode()).query)) if allowed else b"{}"
            status = "200 OK" if allowed else "401 Unauthorized"
            head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)


def accept_forever(listener, wanted):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, wanted), daemon=True).start()


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    wanted = f"authorization: bearer {sys.argv[1]}".lower().encode()
    threading.Thread(target=accept_forever, args=(listener, wanted), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
