"""The simulated UR5e controller: what an unmodified ur_rtde client and a Robotiq socket client talk to.

One process, one loop, absolute 2 ms ticks. Each tick reads what arrived, steps the robot, and answers; nothing in the
loop can block. Layers, innermost first:

- :mod:`motions`, :mod:`cartesian`, :mod:`joint_dynamics`: how the joints move. Plain floats, no sockets, no clock.
- :mod:`robot`: robot mode, safety mode, brakes, speed slider, watchdog, program. ``Robot.step(dt)`` runs anywhere.
- :mod:`program`, :mod:`commands`, :mod:`script`: the program that ur_rtde uploads, as a state machine over registers.
- :mod:`connection`, :mod:`rtde_codec`, :mod:`rtde_outputs`, :mod:`rtde_server`, :mod:`dashboard`, :mod:`script_port`,
  :mod:`robotiq`, :mod:`faults`: the sockets.
- :mod:`process`: the loop.

Which of the client's commands are served is a table, :data:`mola_twin.controller.commands.COMMANDS`, printed by
``mola twin commands``. A command outside it stops the program with a popup and a warning, as PolyScope does on a script
error.

Read off the source of ur_rtde 1.6.5 and of its control script, and from UR's manuals; not compared with URSim
or an arm. Not modelled, and therefore constant: motor currents and torques, TCP force, joint temperatures, voltages.
"""
