// swift-tools-version:6.0
import Foundation
import PackageDescription

// Release builds treat warnings as errors (scripts/build sets this); a developer's debug build does not.
let strict = ProcessInfo.processInfo.environment["CASHER_STRICT"] == "1"
let swiftSettings: [SwiftSetting] = strict ? [.unsafeFlags(["-warnings-as-errors"])] : []

// Each target imports only what stands below it in this list; docs/architecture.md says why.
let package = Package(
  name: "casher",
  products: [
    .executable(name: "acache", targets: ["acache"]),
    .executable(name: "casherfs", targets: ["casherfs"]),
  ],
  targets: [
    .executableTarget(
      name: "acache", dependencies: ["CasherLauncher"], swiftSettings: swiftSettings,
      linkerSettings: [.unsafeFlags(["-static-executable"], .when(configuration: .release))]),
    .executableTarget(
      name: "casherfs",
      dependencies: [
        "CasherLauncher", "CasherDaemon", "CasherOverlay", "CasherConfiguration", "CasherTracer", "CasherRecord",
        "CasherStore", "CasherSystem",
      ],
      swiftSettings: swiftSettings),
    .target(
      name: "CasherLauncher", dependencies: ["CasherTracer", "CasherRecord", "CasherSystem"],
      swiftSettings: swiftSettings),
    .target(
      name: "CasherDaemon",
      dependencies: ["CasherOverlay", "CasherConfiguration", "CasherRecord", "CasherStore", "CasherSystem"],
      swiftSettings: swiftSettings),
    .target(name: "CasherOverlay", dependencies: ["CasherSystem", "CFuse"], swiftSettings: swiftSettings),
    .target(name: "CasherTracer", dependencies: ["CasherRecord", "CasherSystem"], swiftSettings: swiftSettings),
    .target(
      name: "CasherConfiguration", dependencies: ["CasherRecord", "CasherSystem", "CYaml"], swiftSettings: swiftSettings
    ),
    .target(name: "CasherRecord", dependencies: ["CasherSystem"], swiftSettings: swiftSettings),
    .target(
      name: "CasherStore", dependencies: ["CasherSystem", "CSQLite", "CZstd", "CCrypto"], swiftSettings: swiftSettings),
    .target(name: "CasherSystem", dependencies: ["CLinux"], swiftSettings: swiftSettings),
    .target(name: "CFuse", linkerSettings: [.linkedLibrary("fuse3")]),
    .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CYaml", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
    .target(name: "CLinux"),
    .testTarget(name: "CasherSystemTests", dependencies: ["CasherSystem"]),
    .testTarget(
      name: "CasherConfigurationTests", dependencies: ["CasherConfiguration", "CasherRecord", "CasherSystem"]),
    .testTarget(name: "CasherRecordTests", dependencies: ["CasherRecord"]),
    .executableTarget(
      name: "StoreTestHelper", dependencies: ["CasherStore", "CasherSystem"], path: "Tests/StoreTestHelper"),
    .testTarget(
      name: "CasherStoreTests", dependencies: ["CasherStore", "CasherSystem", "CSQLite", "StoreTestHelper"]),
    .testTarget(name: "CasherTracerTests", dependencies: ["CasherTracer"]),
    .testTarget(name: "CasherLauncherTests", dependencies: ["CasherRecord", "CasherSystem", "CLinux"]),
    .testTarget(name: "CasherOverlayTests", dependencies: ["CasherOverlay", "CasherSystem"]),
    .testTarget(name: "EndToEndTests", dependencies: ["CasherSystem"]),
  ],
  swiftLanguageModes: [.v6]
)
