import Foundation
import Testing

@Suite("Commands on a terminal")
struct TerminalTests {
  private func expect(
    _ scenario: String, _ output: String, in place: Place, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let outcome = try Terminal.run(scenario, in: place)
    #expect(outcome == Outcome(status: 0, output: output, error: ""), sourceLocation: sourceLocation)
  }

  @Test("A command sees a terminal of the right size; run and replay give the bytes that it gives without acache")
  func sameBytes() throws {
    try withMount { place throws in
      try expect(
        #"""
        command = ['python3', '-c', r'''import os, sys
        print([os.isatty(i) for i in range(3)], tuple(os.get_terminal_size(1)), tuple(os.get_terminal_size(2)))
        print("\x1b[31mred\x1b[0m\ttab\r\n\x08x", end="")''']
        plain = T(*command).end()
        for _ in range(2): print(T('acache', '--', *command).end() == plain)
        print(plain[0].splitlines()[0])
        command = ['ls', '--color=auto', '-d', '/']
        plain = T(*command).end()
        print([T('acache', '--', *command).end() == plain for _ in range(2)], '\x1b' in plain[0])
        """#,
        "True\nTrue\n[True, True, True] (80, 24) (80, 24)\n[True, True] True\n", in: place)
      #expect(try place.counts() == Counts(hits: 2, misses: 2))
    }
  }

  @Test("The two streams stay apart, and each that is a terminal counts; --no-pty gives pipes")
  func apart() throws {
    try withMount { place throws in
      let command = #"sh -c 'for i in 1 2; do test -t $i && echo tty$i; done; echo error >&2; true'"#
      try expect(
        #"""
        call = r"""\#(command)"""
        print(repr(T('sh', '-c', 'acache -- ' + call + ' 2>/dev/null').end()))
        print(sorted(T('sh', '-c', 'acache -- ' + call + ' | cat').end()[0].split()))
        print(sorted(T('sh', '-c', 'acache -- ' + call).end()[0].split()))
        print(repr(T('sh', '-c', 'acache --no-pty -- ' + call).end()))
        """#,
        """
        ('tty1\\r\\n', 0)
        ['error', 'tty2']
        ['error', 'tty1', 'tty2']
        ('error\\r\\n', 0)

        """, in: place)
      #expect(try place.counts() == Counts(hits: 0, misses: 4))
      let lengths = try place.casherfs("log", "--json").json(as: [[String: Any]].self).map { run in
        let shown = try place.casherfs("show", run["id"] as? String ?? "", "--json").json(as: [String: Any].self)
        return "\(shown["stdout_bytes"] ?? "") \(shown["stderr_bytes"] ?? "")"
      }
      #expect(lengths == ["6 0", "10 6", "5 6", "5 6"])
    }
  }

  @Test("What a command writes to its two streams comes in its order, on the first run and replayed")
  func order() throws {
    try withMount { place throws in
      try expect(
        #"""
        script = 'for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; printf x; printf y >&2; ls -d /; done'
        for options in ([], ['--outside=trust']):
          for command in (['sh', '-c', script], ['bash', '-xc', script]):
            plain = T(*command).end()
            print([T('acache', *options, '--', *command).end() == plain for _ in range(2)])
        """#, "[True, True]\n[True, True]\n[True, True]\n[True, True]\n", in: place)
      #expect(try place.counts() == Counts(hits: 4, misses: 4))
    }
  }

  @Test("Ctrl-C ends the command, Ctrl-Z stops it, and fg goes on, as without acache")
  func jobControl() throws {
    try withMount { place throws in
      try expect(
        #"""
        t = T('bash', '--norc', '-i')
        t.expect('$ ')
        t.send("acache -- sh -c 'echo up-$((1+1)); exec sleep 100'\n")
        t.expect('up-2'); t.send('\x03'); t.expect('$ ')
        t.send('echo status-$?\n'); t.expect('status-130')
        t.send("acache -- sh -c 'echo up-$((2+1)); read line; echo got $line'\n")
        t.expect('up-3'); t.send('\x1a'); t.expect('Stopped'); t.expect('$ ')
        t.send('fg\n'); t.expect('acache -- sh'); t.send('text\n'); t.expect('got text'); t.expect('$ ')
        t.send("acache -- sh -c 'read line; echo got $line-' &\n"); t.expect('$ ')
        t.send('while ! jobs | grep Stopped; do :; done\n'); t.expect('Stopped'); t.expect('$ ')
        t.send('fg\n'); t.expect('acache -- sh'); t.send('more\n'); t.expect('got more-')
        t.send('exit\n'); print(t.end()[1])
        """#, "0\n", in: place)
    }
  }

  @Test("A new size is there for the command when it hears of it")
  func size() throws {
    try withMount { place throws in
      try expect(
        #"""
        t = T('acache', '--', 'python3', '-c', r'''import os, signal
        # A signal that comes while nobody waits for it is kept.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
        print('up', flush=True)
        sizes = ()
        while sizes != (132, 40, 132, 40):
          signal.sigwait([signal.SIGWINCH])
          sizes = (*os.get_terminal_size(1), *os.get_terminal_size(2))
          print('size', *sizes, flush=True)''')
        t.expect('up'); t.resize(40, 132); t.expect('size 132 40 132 40'); print(t.end()[1])
        """#, "0\n", in: place)
    }
  }

  @Test("Settings that a command makes through its output are those of the terminal, and are taken back")
  func settings() throws {
    try withMount { place throws in
      try expect(
        #"""
        t = T('bash', '--norc', '-i'); t.expect('$ ')
        t.send("cat\n"); until(lambda: t.settings()[3] & termios.ICANON); before = t.settings(); t.send('\x04')
        for number in (0, 1, 2):
          t.send('\n'); t.expect('$ ')
          t.send("acache --ignore-arg 4 --salt %d -- python3 -c 'import os, sys, termios, tty\n" % number
            + "n = int(sys.argv[1]); a = termios.tcgetattr(n); tty.setraw(n); os.write(1, b\"raw\" + b\"go\")\n"
            + "d = os.read(0, 1); termios.tcsetattr(n, termios.TCSANOW, a)\n"
            + "os.write(n or 1, b\"d\" + b\"one \" + d + b\"\\n\"); sys.stdin.readline()' %d\n" % number)
          t.expect('rawgo'); until(lambda: not t.settings()[3] & (termios.ICANON | termios.ECHO | termios.ISIG))
          print(bool(t.settings()[1] & termios.OPOST))
          t.send('q'); t.expect('done q\r\n'); until(lambda: t.settings()[:4] == before[:4]); t.send('\n')
        t.send('exit\n'); print(t.end()[1])
        """#, "False\nFalse\nFalse\n0\n", in: place)
    }
  }

  @Test("A program of the whole screen works")
  func fullScreen() throws {
    try withMount { place throws in
      try expect(
        #"""
        t = T('acache', '--', 'python3', '-c', r'''import curses
        s = curses.initscr(); curses.noecho(); curses.cbreak(); s.addstr(3, 5, "hello screen"); s.refresh()
        k = s.getch(); curses.endwin(); print("key", k)''')
        t.expect('hello screen'); until(lambda: not t.settings()[3] & (termios.ICANON | termios.ECHO)); t.send('x')
        t.expect('key 120\r\n'); print(t.end()[1])
        """#, "0\n", in: place)
    }
  }

  @Test("A job in the background writes on, and is stopped where the terminal says so (tostop)")
  func background() throws {
    try withMount { place throws in
      try expect(
        #"""
        t = T('bash', '--norc', '-i'); t.expect('$ ')
        t.send("acache -- sh -c 'echo out-$((1+1)); exit 5' &\n"); t.expect('out-2')
        t.send('wait $!; echo status-$?\n'); t.expect('status-5')
        t.send("stty tostop; acache -- sh -c 'echo out-$((1+2))' &\n")
        t.send('while ! jobs | grep Stopped; do :; done\n'); t.expect('Stopped')
        t.send('stty -tostop; fg\n'); t.expect('out-3')
        t.send('exit\n'); print(t.end()[1])
        """#, "0\n", in: place)
    }
  }
}
