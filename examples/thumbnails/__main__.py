"""Serves the example: `python -m examples.thumbnails [--store URL] [--workers N]`; PORT is 8000 unless set."""

from examples.reports.__main__ import serve

TRY = """
The thumbnails service listens on http://127.0.0.1:{port}. Store: {store}; jobs are run by {workers}.

A picture to begin with, and its thumbnail, a job: 202 and a place to look, then the picture.
  .venv/bin/python -c "from PIL import Image; Image.effect_mandelbrot((900, 600), (-2, -1, 1, 1), 100).save('big.png')"
  curl -si 'http://127.0.0.1:{port}/thumbnails?size=128' -H 'content-type: image/png' --data-binary @big.png
  curl -s  http://127.0.0.1:{port}/jobs/ID          how far it has come
  curl -s  http://127.0.0.1:{port}/jobs/ID/result -o small.webp

Whoever can wait gets it at once; the credits of the day are in the answer's fields.
  curl -si http://127.0.0.1:{port}/thumbnails -H 'content-type: image/png' -H 'prefer: wait=10' \\
    --data-binary @big.png -o small.webp -D -

What is no picture is refused before it costs anything: 415, and nothing is queued.
  curl -si http://127.0.0.1:{port}/thumbnails -H 'content-type: text/plain' -d 'hello'

Where it ends, a receiver is told, signed (Standard Webhooks); this one prints what comes:
  python -m examples.reports.receiver &
  curl -si http://127.0.0.1:{port}/thumbnails -H 'content-type: image/png' -H 'x-callback: http://127.0.0.1:9000/' \\
    --data-binary @big.png

Stop: Ctrl-C
"""


def main() -> None:
    """Serve until stopped, with workers beside where the queue is outside of the process."""
    serve("thumbnails", "Thumbnails of pictures, made by workers.", TRY)


if __name__ == "__main__":
    main()
