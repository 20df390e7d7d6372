import CasherDaemon
import CasherRecord
import CasherStore
import CasherSystem
import Glibc

extension Command {
  static let `import` = Command(
    name: "import", operands: "FILE.tar.zst", operandCount: 1...1,
    summary: "take over runs that 'casherfs export' wrote",
    details: """
      Takes over the runs in the archive, which may be - for stdin. Everything is checked on the way in: contents \
      against their digests, paths, sizes; what cannot be taken is left out and named, and the exit code is then 1. \
      A run is a hit where its command, directory, mount, user and environment are the same; with acache's \
      --relocatable in any mount. Take over only what comes from someone you trust: a run says what a command would \
      do, and nobody can tell whether it did. Runs that write outside the mount, change owners or make set-user-id \
      files are left out unless --trust is given.
      """,
    options: [
      Option("--trust", "also runs that write outside the mount, change owners or make set-user-id files"), Option.json,
      Option.cacheDirectory,
    ],
    run: importRuns)
}

private func importRuns(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let path = arguments.operands[0]
  let source: FileDescriptor
  do throws(Errno) {
    source = path == "-" ? .standardInput : try FileDescriptor.open(path, O_RDONLY)
  } catch { throw Failure(.missing, "\(path) cannot be read: \(error).") }
  let access = try StoreAccess(arguments)
  let store = try StoreAccess.reading { () throws(StoreError) in
    try Store.open(at: access.directory, options: access.options)
  }
  defer { store.close() }
  var importer = Importer(from: source, named: path, into: store, isTrusted: arguments.has("--trust"))
  var damage: Failure?
  do throws(Failure) { try importer.run() } catch { damage = error }
  try StoreAccess.reading { () throws(StoreError) in try store.flush() }
  // What was taken over before the damage is sound, and stays.
  for (name, reason) in importer.skipped { Console.complain("\(name) was left out: \(reason).") }
  if arguments.has("--json") {
    Console.print(importer.json)
  } else if damage == nil || !importer.imported.isEmpty {
    var text = "imported \(RunText.count(importer.imported.count, "run")), \(Quantity.size(importer.bytes)) of contents"
    if importer.present > 0 { text += "; \(RunText.count(importer.present, "run")) were there already" }
    Console.print(text)
  }
  if let damage { throw damage }
  return importer.skipped.isEmpty ? .success : .failure
}
