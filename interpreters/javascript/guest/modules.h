/* ES modules: of the guest's own library while it starts, of the session's files afterwards. */
#ifndef SANDPOOL_MODULES_H
#define SANDPOOL_MODULES_H

#include "quickjs.h"

void sandpool_modules_install(JSRuntime *runtime);

/* From now on, `hooks.resolve` and `hooks.load` find the modules. */
void sandpool_modules_hook(JSContext *context, JSValueConst hooks);

#endif
