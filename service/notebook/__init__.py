"""The notebook that the service grew out of, as a whole: its runs, and a report of what they come to.

It talks to a service as any client does: it knows no database and trains nothing itself.
"""
