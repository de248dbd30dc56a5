"""I1 to I17 (docs/design.md) of a simulated cluster, looked at where each could break.

The checks see what no process sees: every copy, every clock and the coordinator's disk at the same moment. They stand
around methods of the core for the time of a run (`around`), so production pays nothing for them, and code that has had
one of its rules taken away (tests/mutants) is looked at as well.

    stored     when the coordinator decides: I1, I5, I9, I10, I16, I17
    log        when an update is given a sequence or applied: I4, I12
    copies     when a copy is told, sealed, given updates or filled: I1, I2, I9, I10, I11, I14, I16
    serving    when a primary commits, renews its lease, begins to serve: I3, I6, I7, I8;
               when a read or a client is answered: I3, I13

I15 is looked at by the store that fails (simulation.disk).
"""
