import CasherLauncher
import Glibc

exit(Launcher.main())
