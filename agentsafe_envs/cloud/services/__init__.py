"""The services of the mock cloud: each module holds a service's records and its tools."""
