"""What the tests share: a clock that is moved by hand, and a batch on the simulator in process."""
