"""The one adapter around the `kubernetes` client: plain dictionaries in and out, own errors, own timeouts.

`connect.connect` makes a `client.KubeClient`; `errors` can be imported without the client's weight.
Nothing outside this package imports `kubernetes` (0.4 s and its own ideas of timeouts and errors).
"""
