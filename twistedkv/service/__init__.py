"""Services: the daemons, put together from the layers below, with clock and network injected."""
