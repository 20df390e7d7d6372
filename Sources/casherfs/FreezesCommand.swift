import CasherRecord
import CasherStore
import CasherSystem

extension Command {
  static let freezes = Command(
    name: "freezes", operands: "[DIR]", operandCount: 0...1,
    summary: "list what was frozen, and which results were there",
    details: """
      Lists the freezes that are on record, newest first: of DIR, or of every directory. Each 'casherfs freeze' and each \
      unmount is one, however it came. A freeze knows the results that stood in the directory then: files that runs had \
      made there and that were as the runs had left them, each with its digest, its mode and its run. It stays when the \
      runs are evicted. The last \(Store.keptFreezes) of each directory are kept.
      With --show it prints the results of one freeze.
      """,
    options: [
      Option("--show", value: "ID", "print the results of this freeze"),
      Option("--forget", "forget the freezes that would be listed"),
      RunSelection.limit(50, "freezes"), Option.json, Option.cacheDirectory,
    ],
    run: listFreezes)
}

private func listFreezes(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let limit = try RunSelection.limit(arguments, 50)
  let access = try StoreAccess(arguments)
  let store = try access.open()
  defer { store?.close() }
  if let id = arguments.text("--show") {
    guard let store else {
      throw Failure(.noSuchFreeze, "there is no cache in \(access.directory) yet, and so no freeze \(id).")
    }
    try show(try Freezes.find(id, in: store), asJSON: arguments.has("--json"))
    return .success
  }
  let directory = arguments.operands.first.flatMap { RunPaths.absolute($0).last }
  let freezes = try StoreAccess.reading { () throws(StoreError) in
    try store?.freezes(of: directory, limit: limit ?? .max) ?? []
  }
  if arguments.has("--forget") {
    try StoreAccess.reading { () throws(StoreError) in try store?.remove(freezes: freezes.map(\.id)) }
    Console.print("forgot \(RunText.count(freezes.count, "freeze"))")
  } else if arguments.has("--json") {
    Console.print(.array(freezes.map { .object(Freezes.members($0)) }))
  } else if freezes.isEmpty {
    Console.complain("no freeze \(directory.map { "of \($0) " } ?? "")is on record.")
  } else {
    Console.print(table(freezes))
  }
  return .success
}

private func table(_ freezes: [StoredFreeze]) -> String {
  let now = Clock.now()
  var table = Table("ID", "AGE", "TIME", "BY", "FILES", "SIZE", "DIRECTORY")
  for freeze in freezes {
    table.add(
      [
        "\(freeze.id)", Quantity.age(now &- freeze.created), Quantity.time(freeze.created), freeze.cause,
        "\(freeze.files)", Quantity.size(freeze.bytes), freeze.mount.description,
      ], styles: [.yellow])
  }
  return table.text
}

private func show(_ freeze: StoredFreeze, asJSON: Bool) throws(Failure) {
  let record = try Freezes.record(of: freeze)
  if asJSON {
    let results = record.results.map { Freezes.json($0, record.maker(of: $0)) }
    Console.print(.object(Freezes.members(freeze) + [("results", .array(results))]))
    return
  }
  var table = Table("DIGEST", "MODE", "SIZE", "RUN", "PATH")
  for result in record.results {
    let run = RunText.short(record.maker(of: result).run)
    let mode = String(result.permissions, radix: 8)
    switch result.content {
    case .file(let digest, let size):
      table.add(
        [RunText.short(digest), mode, Quantity.size(size), run, result.path.description],
        styles: [nil, nil, nil, .yellow])
    case .symlink(let target):
      table.add(["-", mode, "-", run, "\(result.path) -> \(target)"], styles: [nil, nil, nil, .yellow])
    }
  }
  Console.print(table.text)
}
