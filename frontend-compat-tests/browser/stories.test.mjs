// All browser stories in one process, one after another: the frontends are served on fixed ports. A file per topic is in stories/.
import './stories/g2-chat.mjs';
import './stories/g2-inbox.mjs';
import './stories/g2-pages.mjs';
import './stories/g2-recovery.mjs';
import './stories/g1.mjs';
