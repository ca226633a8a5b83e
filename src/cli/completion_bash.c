// SPDX-License-Identifier: Apache-2.0
// For bash: one function. It finds the verb among the words before the cursor, then the option whose value is wanted, and looks
// both up in lists printed here.
#include <stdio.h>
#include <string.h>

#include "cli/completion.h"
#include "cli/verbs.h"
#include "cli/words.h"

// "runs diff" is found behind "runs": the verb so far, a blank, the word.
static void print_verb_pattern(const verb *v) { printf("|\"%s%s\"", strchr(v->name, ' ') == NULL ? " " : "", v->name); }

static void print_words(const words *w) {
    const char *word;
    for (int i = 0; w->word != NULL && (word = w->word(i)) != NULL; i++) printf("%s%s", i > 0 ? " " : "", word);
}

static void print_place(words_place place) {
    if (place != WORDS_ONLY) printf("; place=%s", place == WORDS_FILES ? "-f" : "-d");
}

// A line for each option that takes a value: "train --mode") list="pretrain sft rl" ;;
static void print_values(const verb *v) {
    for (int i = 0; i < v->n_options; i++) {
        const option *o = &v->options[i];
        if (o->kind == OPTION_FLAG || !completion_offers(o)) continue;
        printf("    \"%s %s\"", v->name, o->name);
        if (o->letter != NULL) printf("|\"%s %s\"", v->name, o->letter);
        printf(") list=\"");
        const char *word;
        for (int k = 0; (word = words_at(o, k)) != NULL; k++) printf("%s%s", k > 0 ? " " : "", word);
        printf("\"");
        print_place(words_of_option(o)->place);
        printf(" ;;\n");
    }
}

static void print_options(const verb *v) {
    printf("    \"%s\") options=\"--help", v->name);
    for (int i = 0; i < v->n_options; i++)
        if (completion_offers(&v->options[i])) printf(" %s", v->options[i].name);
    printf("\"; list=\"");
    for (const verb *const *below = v->below; below != NULL && *below != NULL; below++)
        printf("%s%s", below == v->below ? "" : " ", strrchr((*below)->name, ' ') + 1);
    if (v->below == NULL) {
        print_words(words_of_verb(v));
        printf("\"");
        print_place(words_of_verb(v)->place);
    } else printf("\"");
    printf(" ;;\n");
}

void completion_bash(void) {
    printf("# bash completion for heed %s, made by `heed completion bash`\n"
           "_heed() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
           "    local verb= option= options= list= place= free= i\n"
           "    # --name=value comes as three words\n"
           "    if [ \"$word\" = \"=\" ]; then option=$before word=\n"
           "    elif [ \"$before\" = \"=\" ] && [ \"$COMP_CWORD\" -ge 2 ]; then option=${COMP_WORDS[COMP_CWORD - 2]}\n"
           "    else option=$before\n"
           "    fi\n"
           "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
           "        case \"$verb ${COMP_WORDS[i]}\" in\n"
           "        \" help\") continue ;;\n"
           "        \" \"", heed_version());
    completion_each(print_verb_pattern);
    printf(") verb=\"${verb:+$verb }${COMP_WORDS[i]}\" ;;\n"
           "        *) break ;;\n"
           "        esac\n"
           "    done\n"
           "    case \"$option\" in --*) option=${option#--} option=--${option//-/_} ;; esac\n"
           "    case \"$verb $option\" in\n");
    completion_each(print_values);
    printf("    *) free=yes ;;\n"
           "    esac\n"
           "    if [ -n \"$free\" ]; then\n"
           "        case \"$verb\" in\n"
           "    \"\") options=\"--help --version\"; list=\"help");
    for (int i = 0; verbs[i] != NULL; i++)
        if (verbs[i]->later == NULL) printf(" %s", verbs[i]->name);
    printf("\" ;;\n");
    completion_each(print_options);
    printf("        esac\n"
           "        case \"$word\" in\n"
           "        --*) list=$options place= word=${word#--} word=--${word//-/_} ;;\n"
           "        -*) list=$options place= ;;\n"
           "        esac\n"
           "    fi\n"
           "    mapfile -t COMPREPLY < <(compgen -W \"$list\" -- \"$word\"; [ -z \"$place\" ] || compgen \"$place\" -- \"$word\")\n"
           "    [ -z \"$place\" ] || compopt -o filenames 2> /dev/null\n"
           "}\n"
           "complete -F _heed heed\n");
}
