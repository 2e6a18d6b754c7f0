"""The whole product on a lab: real agents, controller, programs and engines; every assertion is about packets."""
