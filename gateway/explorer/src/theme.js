// The editor's colours, the same as the page's in main.css: Monaco takes them from here and not from there.
import { editor } from 'monaco-graphql/esm/monaco-editor.js';

const theme = (base, background, primary, argument) => ({
  base,
  inherit: true,
  rules: [{ token: 'argument.identifier.gql', foreground: argument }],
  colors: {
    'editor.background': '#ffffff00', // the page's own shines through
    'scrollbar.shadow': '#ffffff00',
    'editorHoverWidget.background': background,
    'editorSuggestWidget.background': background,
    'editorWidget.background': background,
    'menu.background': background,
    'quickInput.background': background,
    'editorSuggestWidget.selectedBackground': `${primary}22`,
    'editorSuggestWidget.selectedForeground': primary,
    'list.highlightForeground': primary,
    'list.focusHighlightForeground': primary,
    'list.hoverBackground': `${primary}11`,
    'menu.selectionBackground': `${primary}22`,
    'menu.selectionForeground': primary,
    'quickInputList.focusBackground': `${primary}22`,
    'quickInputList.focusForeground': primary,
    'textLink.foreground': primary,
    'textLink.activeForeground': primary,
    focusBorder: primary,
  },
});

editor.defineTheme('switchboard-light', theme('vs', '#ffffff', '#c44f08', '6c69ce'));
editor.defineTheme('switchboard-dark', theme('vs-dark', '#212a3b', '#fba142', '908aff'));

export const editorTheme = { light: 'switchboard-light', dark: 'switchboard-dark' };
